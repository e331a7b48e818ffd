"""Images from files of this machine: docker-archive, OCI archive, OCI layout directory; plain, gzip or zstd.

Called by `ensure_image` and by `image load`. Every blob of the archive goes to the store in one pass, since a
compressed archive cannot be read twice cheaply and `docker save` writes its list last; then the images are found by
their lists. Which format it is, is told by what is inside. An archive of both formats (Docker 25 and newer) is read
as OCI, which keeps its digests. Unpacks no layer.

Sources: OCI image-spec 1.1 `image-layout.md`; moby `image/spec/v1.2.md`, "Combined Image JSON + Filesystem
Changeset".
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from runtime.images.blobs import BlobStore
from runtime.images.digests import is_digest
from runtime.images.documents import Document, read_document, read_documents
from runtime.images.found import Found, add_manifest, read_found
from runtime.images.limits import Limits
from runtime.images.oci import INDEXES, MANIFESTS, MAX_MANIFEST, Descriptor, Index, Manifest, read_manifest
from runtime.images.platforms import Platform
from runtime.images.rootfs import copy_blob
from runtime.images.tarheader import padding
from runtime.images.tarstream import TarStream
from runtime.images.unsound import Unsound
from runtime.images.untar import HARD_LINK, REGULAR, SYMLINK, Entry, read_entries, stored_size
from schemas.errors import Refused
from schemas.reference import Reference

CONTAINERD_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
_LISTS = ("oci-layout", "index.json", "manifest.json")
_OLD_BOOKS = ("VERSION", "json", "repositories")
_MAX_MEMBERS = 100_000
_MAX_LINKS = 8
_MAX_DEPTH = 3
"""Of indexes in indexes."""

ReadReport = Callable[[str, int, int], None]


@dataclass(slots=True)
class _Archive:
    """What one pass over a file, or a look at a directory, gave: its lists, and its blobs in the store by name."""

    store: BlobStore
    place: str
    lists: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    directory: Path | None = None

    def blob(self, name: str) -> str:
        """Digest of the member `name`, links followed. Raises Refused when there is none."""
        target = name
        for _ in range(_MAX_LINKS):
            if target in self.blobs:
                return self.blobs[target]
            if target not in self.links:
                break
            target = self.links[target]
        raise self.refused(f"lists {name[:200]!r}, which it does not hold")

    def ensure(self, descriptor: Descriptor) -> None:
        """The blob in the store. Raises Refused when the archive lacks it, or it is not what it says."""
        if self.store.has(descriptor.digest, descriptor.size):
            return
        if self.directory is None:
            raise self.refused(f"lacks the blob {descriptor.digest}")
        path = self.directory / "blobs" / descriptor.digest.replace(":", "/")
        if not path.is_file():
            raise self.refused(f"lacks the blob {descriptor.digest}")
        try:
            with path.open("rb") as blob, self.store.write(descriptor.digest, descriptor.size) as writer:
                writer.restart()
                copy_blob(blob, writer, lambda _: None)
        except OSError as error:
            raise self.refused(f"lacks the blob {descriptor.digest}: {error.strerror}") from error

    def refused(self, problem: str) -> Refused:
        return Refused(f"the archive {problem}", step="read archive", path=self.place)


def bring_archive(store: BlobStore, path: Path, platform: Platform, limits: Limits, report: ReadReport) -> Found:
    """The one image of the archive, in the store. Raises Refused, also where it holds several."""
    images = read_archive(store, path, platform, limits, report)
    if len(images) != 1:
        names = ", ".join(sorted(tag for image in images for tag in image.tags)) or "none"
        raise Refused(
            f"the archive holds {len(images)} images ({names})"[:1000],
            step="read archive",
            path=str(path),
            hint="save the one image alone, or use `trimtab image load`",
        )
    return images[0]


def read_archive(
    store: BlobStore, path: Path, platform: Platform, limits: Limits, report: ReadReport
) -> tuple[Found, ...]:
    """Every image of the archive for `platform`, in the store. Raises Refused, RetryLater (the disk is full)."""
    archive = _look_at(store, path) if path.is_dir() else _read_file(store, path, limits, report)
    if "index.json" in archive.lists and "oci-layout" in archive.lists:
        return _oci_images(archive, platform)
    if "manifest.json" in archive.lists:
        return _docker_images(archive)
    raise Refused(
        "this is no image archive: it has neither index.json and oci-layout nor manifest.json",
        step="read archive",
        path=str(path),
        hint="a tar of a root file system goes under `rootfs`",
    )


# one pass


def _look_at(store: BlobStore, path: Path) -> _Archive:
    archive = _Archive(store, str(path), directory=path)
    for name in ("oci-layout", "index.json"):
        if (path / name).is_file():
            with (path / name).open("rb") as file:
                archive.lists[name] = file.read(MAX_MANIFEST + 1)
    return archive


def _read_file(store: BlobStore, path: Path, limits: Limits, report: ReadReport) -> _Archive:
    archive = _Archive(store, str(path))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(error.strerror or str(error), step="read archive", path=str(path), errno=error.errno) from error
    try:
        size = os.fstat(fd).st_size
        stream = TarStream(fd, limits, lambda done: report(str(path), done, size))
        try:
            for count, entry in enumerate(read_entries(stream, limits)):
                if count >= _MAX_MEMBERS:
                    raise archive.refused(f"has more than {_MAX_MEMBERS} members")
                _take(archive, entry, stream)
        finally:
            stream.close()
    except Unsound as error:
        raise archive.refused(f"is damaged: {error.message}") from error
    finally:
        os.close(fd)
    return archive


def _take(archive: _Archive, entry: Entry, stream: TarStream) -> None:
    name = posixpath.normpath(os.fsdecode(entry.path))
    size = stored_size(entry)
    if entry.kind == REGULAR and entry.data is None:
        if name in _LISTS:
            archive.lists[name] = _small(archive, name, size, stream)
        elif posixpath.basename(name) in _OLD_BOOKS:
            stream.skip(size)
        else:
            archive.blobs[name] = _keep(archive.store, name, size, stream)
    elif entry.kind in (SYMLINK, HARD_LINK):
        link = os.fsdecode(entry.link)
        base = posixpath.dirname(name) if entry.kind == SYMLINK else ""
        archive.links[name] = posixpath.normpath(posixpath.join(base, link))
    else:
        stream.skip(size)
    stream.skip(padding(size))


def _small(archive: _Archive, name: str, size: int, stream: TarStream) -> bytes:
    if size > MAX_MANIFEST:
        raise archive.refused(f"has a {name} of {size} bytes; at most {MAX_MANIFEST} are read")
    return stream.take(size)


def _keep(store: BlobStore, name: str, size: int, stream: TarStream) -> str:
    """A member as a blob; under `blobs/` its name says the digest, and must be true."""
    folder, _, encoded = name.rpartition("/")
    said = f"{folder.removeprefix('blobs/')}:{encoded}"
    digest = said if folder.startswith("blobs/") and is_digest(said) else None
    if digest and store.has(digest, size):
        stream.skip(size)
        return digest
    with store.write(digest, size) as writer:
        writer.restart()
        for piece in stream.pieces(size):
            writer.write(piece)
        if writer.offset < size:
            raise Unsound("it is cut off")
        return writer.commit()


# docker-archive


def _docker_images(archive: _Archive) -> tuple[Found, ...]:
    listed = read_documents(archive.lists["manifest.json"], "manifest.json")
    return tuple(_docker_image(archive, image) for image in listed)


def _docker_image(archive: _Archive, image: Document) -> Found:
    config = archive.blob(posixpath.normpath(image.text("Config")))
    layers = tuple(archive.blob(posixpath.normpath(name)) for name in image.strings("Layers"))
    return add_manifest(archive.store, config, layers, full_names(image.strings("RepoTags")))


# OCI


def _oci_images(archive: _Archive, platform: Platform) -> tuple[Found, ...]:
    layout = read_document(archive.lists["oci-layout"], "oci-layout")
    if not layout.text("imageLayoutVersion").startswith("1."):
        layout.refuse("imageLayoutVersion", "is not 1.x")
    index = read_manifest(archive.lists["index.json"])
    if not isinstance(index, Index):
        raise archive.refused("has an index.json that is no index")
    groups: dict[str, list[Descriptor]] = {}
    for entry in index.manifests:
        if entry.media_type in INDEXES | MANIFESTS:
            groups.setdefault(_name_of(entry), []).append(entry)
    names = docker_names(archive)
    return tuple(_oci_image(archive, entries, platform, names) for entries in groups.values())


def _oci_image(archive: _Archive, entries: list[Descriptor], platform: Platform, names: dict[str, str]) -> Found:
    """One image: the entries of one name are the same image for several platforms."""
    entry = entries[0] if len(entries) == 1 else Index("", tuple(entries)).choose(platform)
    top = entry
    for _ in range(_MAX_DEPTH):
        archive.ensure(entry)
        content = read_manifest(archive.store.read(entry.digest, MAX_MANIFEST), entry.media_type)
        if isinstance(content, Manifest):
            for blob in (content.config, *content.layers):
                archive.ensure(blob)
            tags = full_names([name for name in (_name_of(top), names.get(content.config.digest, "")) if name])
            return read_found(archive.store, entry.digest, top.digest, tags)
        entry = content.choose(platform)
    raise archive.refused(f"nests indexes more than {_MAX_DEPTH} deep")


def docker_names(archive: _Archive) -> dict[str, str]:
    """By config digest, the first tag that a `manifest.json` beside the OCI index gives."""
    listed = read_documents(archive.lists.get("manifest.json", b"[]"), "manifest.json")
    return {
        archive.blobs[image.text("Config")]: image.strings("RepoTags")[0]
        for image in listed
        if image.strings("RepoTags") and image.text("Config") in archive.blobs
    }


def _name_of(entry: Descriptor) -> str:
    return entry.annotations.get(CONTAINERD_NAME) or entry.annotations.get(REF_NAME, "")


def full_names(names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """References in full. A bare tag, as skopeo writes it, names no repository, and is left out."""
    found: list[str] = []
    for name in names:
        if "/" not in name and ":" not in name:
            continue
        try:
            found.append(str(Reference.parse(name)))
        except ValueError:
            continue
    return tuple(dict.fromkeys(found))
