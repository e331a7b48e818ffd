"""Trees and archives that the image tests make and compare."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from runtime.images.archive import CONTAINERD_NAME
from runtime.images.config import ImageConfig, ImageDocument
from runtime.images.digests import digest_of
from runtime.images.documents import canonical_json
from runtime.images.oci import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor, Index, Manifest
from runtime.images.platforms import Platform, machine_platform

Member = tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]


def listing(top: Path) -> list[tuple[object, ...]]:
    """Everything that tells two trees apart: names, modes, owners, seconds, contents, links, devices, xattrs."""
    first: dict[int, bytes] = {}
    found = [_line(os.fsencode(top), path, first) for path in everything(os.fsencode(top))]
    return sorted(found, key=str)


def everything(top: bytes) -> Iterator[bytes]:
    """Every path of the tree, itself first, sorted, no link followed."""
    yield top
    with os.scandir(top) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from everything(entry.path)
            else:
                yield entry.path


def _line(top: bytes, path: bytes, first: dict[int, bytes]) -> tuple[object, ...]:
    seen = os.lstat(path)
    content: object = None
    if stat.S_ISLNK(seen.st_mode):
        content = os.readlink(path)  # noqa: PTH115 (a name of bytes)
    elif stat.S_ISREG(seen.st_mode):
        content = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
    name = path[len(top) :]
    same = first.setdefault(seen.st_ino, name)
    xattrs = {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)}
    owner = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_rdev)
    return (name, owner, int(seen.st_mtime), content, same, xattrs)


def names(top: Path) -> list[str]:
    """What the directory holds, sorted."""
    return sorted(path.name for path in top.iterdir())


def open_descriptors() -> int:
    """Of this process; the one that looks counts itself."""
    return len(list(Path("/proc/self/fd").iterdir()))


def file(name: str, content: bytes = b"", /, **fields: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def directory(name: str, mode: int = 0o755, **fields: object) -> Member:
    return file(name, b"", type=tarfile.DIRTYPE, mode=mode, **fields)


def symlink(name: str, target: str) -> Member:
    return file(name, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> Member:
    return file(name, type=tarfile.LNKTYPE, linkname=target)


def tar_of(*members: Member, form: int = tarfile.PAX_FORMAT, mode: str = "w") -> bytes:
    """The bytes of an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def make_layout(
    place: Path,
    layers: Iterable[bytes],
    config: ImageConfig | None = None,
    *,
    diff_ids: Iterable[str] | None = None,
    compress: Callable[[bytes], bytes] = bytes,
    name: str = "example.test/made:1",
    platforms: Iterable[Platform | None] | None = None,
) -> Path:
    """An OCI layout directory of an image of these tars, written without the engine's own writer."""
    (place / "blobs/sha256").mkdir(parents=True)
    blobs: dict[str, bytes] = {}

    def add(content: bytes) -> tuple[str, int]:
        digest = digest_of(content)
        blobs[digest] = content
        return digest, len(content)

    tars = list(layers)
    given = list(diff_ids) if diff_ids is not None else [digest_of(tar) for tar in tars]
    described = tuple(Descriptor(OCI_LAYER, *add(compress(tar))) for tar in tars)
    entries = []
    for platform in platforms or [None]:
        document = ImageDocument(config or ImageConfig(), platform or machine_platform(), tuple(given))
        manifest = Manifest(OCI_MANIFEST, Descriptor(OCI_CONFIG, *add(document.content())), described)
        digest, size = add(manifest.content())
        entries.append(Descriptor(OCI_MANIFEST, digest, size, platform, {CONTAINERD_NAME: name}))
    for digest, content in blobs.items():
        (place / "blobs" / digest.replace(":", "/")).write_bytes(content)
    (place / "index.json").write_bytes(Index(OCI_INDEX, tuple(entries)).content())
    (place / "oci-layout").write_bytes(canonical_json({"imageLayoutVersion": "1.0.0"}))
    return place
