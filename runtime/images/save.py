"""Writes an image for other tools: docker-archive, OCI archive, OCI layout directory.

Called by `image save`. Blobs are given out as they were received, so digests stay; only docker-archive, which names
layers by diffID, gets them uncompressed. Equal images give equal bytes. Changes nothing on this engine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

from runtime.images.archive import CONTAINERD_NAME, REF_NAME
from runtime.images.blobs import BlobStore, disk_error, sync_directory
from runtime.images.digests import split_digest
from runtime.images.documents import canonical_json
from runtime.images.limits import Limits
from runtime.images.oci import OCI_INDEX, Descriptor, Index
from runtime.images.record import ImageRecord
from runtime.images.tarstream import TarStream
from runtime.images.tarwriter import BLOCK, Member, end, header
from runtime.images.unsound import Unsound
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.reference import Reference

_PIECE = 1 << 20
_LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"})
_TRUSTED = Limits(bytes=1 << 62, ratio=1 << 20)
"""Our own layers were unpacked within their limits once."""

Sink = Callable[[bytes], object]


class Form(StrEnum):
    """Formats of a saved image."""

    DOCKER = "docker-archive"
    OCI = "oci-archive"


def save_image(layout: Layout, record: ImageRecord, sink: Sink, form: Form) -> None:
    """Write the archive to `sink`, piece by piece. Raises Refused when a blob is missing or damaged."""
    store = BlobStore(layout)
    try:
        members = _docker_members(store, record) if form is Form.DOCKER else _oci_members(store, record)
        for name, size, content in members:
            sink(header(Member(os.fsencode(name), b"0", 0o644, size=size)))
            written = 0
            for piece in content:
                sink(piece)
                written += len(piece)
            if written != size:
                raise _damaged(record, f"{name} has {written} bytes, not {size}")
            sink(bytes(-size % BLOCK))
        sink(end())
    except FileNotFoundError as error:
        raise _damaged(record, f"{error.filename} is missing") from error


def save_layout(layout: Layout, record: ImageRecord, directory: Path) -> None:
    """Write an OCI layout directory, its index last. Raises Refused when it is not empty, RetryLater on a full disk."""
    store = BlobStore(layout)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise Refused("the directory is not empty", step="save image", path=str(directory))
        for name, _, content in sorted(_oci_members(store, record), key=lambda member: member[0] == "index.json"):
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                for piece in content:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        sync_directory(directory)
    except FileNotFoundError as error:
        raise _damaged(record, f"{error.filename} is missing") from error
    except OSError as error:
        raise disk_error(error, directory) from error


_Content = tuple[str, int, Iterator[bytes]]


def _oci_members(store: BlobStore, record: ImageRecord) -> Iterator[_Content]:
    index = _index(store, record)
    yield "oci-layout", len(_LAYOUT), iter([_LAYOUT])
    yield "index.json", len(index), iter([index])
    blobs = (record.digest, record.config_digest, *(blob.digest for blob in record.blobs))
    for digest in dict.fromkeys(blobs):
        algorithm, encoded = split_digest(digest)
        yield f"blobs/{algorithm}/{encoded}", _size(store, digest, record), _pieces(store, digest)


def _index(store: BlobStore, record: ImageRecord) -> bytes:
    names = [Reference.parse(tag) for tag in record.tags]
    names = [name for name in names if name.tag] or [Reference.parse(f"localhost/{record.name}")]
    size = _size(store, record.digest, record)
    entries = tuple(
        Descriptor(
            record.media_type,
            record.digest,
            size,
            record.platform,
            {CONTAINERD_NAME: f"{name.name}:{name.tag}", REF_NAME: name.tag or ""},
        )
        for name in names
    )
    return Index(OCI_INDEX, entries).content()


def _docker_members(store: BlobStore, record: ImageRecord) -> Iterator[_Content]:
    config = f"{split_digest(record.config_digest)[1]}.json"
    yield config, _size(store, record.config_digest, record), _pieces(store, record.config_digest)
    blobs = dict(zip(record.layers, record.blobs, strict=True))
    for diff_id, blob in blobs.items():
        name = f"{split_digest(diff_id)[1]}.tar"
        if blob.digest == diff_id:
            yield name, _size(store, blob.digest, record), _pieces(store, blob.digest)
        else:
            size = sum(
                map(len, _uncompressed(store, blob.digest, diff_id, record))
            )  # a header comes before its content
            yield name, size, _uncompressed(store, blob.digest, diff_id, record)
    listed = canonical_json([{"Config": config, "RepoTags": _repo_tags(record), "Layers": _names(record)}])
    yield "manifest.json", len(listed), iter([listed])


def _names(record: ImageRecord) -> list[str]:
    return [f"{split_digest(diff_id)[1]}.tar" for diff_id in record.layers]


def _repo_tags(record: ImageRecord) -> list[str]:
    names = [Reference.parse(tag) for tag in record.tags]
    tags = [f"{name.name.removeprefix('docker.io/library/')}:{name.tag}" for name in names if name.tag]
    return tags or [f"localhost/{record.name}:latest"]


def _size(store: BlobStore, digest: str, record: ImageRecord) -> int:
    size = store.size(digest)
    if size is None:
        raise _damaged(record, f"{store.path(digest)} is missing")
    return size


def _pieces(store: BlobStore, digest: str) -> Iterator[bytes]:
    with store.open(digest) as blob:
        while piece := blob.read(_PIECE):
            yield piece


def _uncompressed(store: BlobStore, digest: str, diff_id: str, record: ImageRecord) -> Iterator[bytes]:
    """The layer's tar, verified against its diffID by the end."""
    with store.open(digest) as blob:
        stream = TarStream(blob.fileno(), _TRUSTED)
        try:
            yield from map(bytes, stream.pieces(1 << 62))
            if stream.finish() != diff_id:
                raise _damaged(record, f"{store.path(digest)} is damaged")
        except Unsound as error:
            raise _damaged(record, f"{store.path(digest)} is damaged: {error.message}") from error
        finally:
            stream.close()


def _damaged(record: ImageRecord, problem: str) -> Refused:
    return Refused(problem, object=f"Image/{record.name}", step="save image", hint="apply the image to mend it")
