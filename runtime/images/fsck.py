"""Verifies every blob against its digest, and every layer against the blob it was unpacked from.

Called for `trimtab system fsck`. A layer is unpacked anew, beside the store, and compared with what is there: names,
owners, modes, times, extended attributes and content. Work in flight goes on meanwhile. `condemn` takes damaged parts
out of use, so that whoever ensures an image brings them anew.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum

from runtime.images.blobs import BlobStore
from runtime.images.collect import named_digests
from runtime.images.layers import PARTIAL, RECORD, layer_damage, layer_path, layer_tree, list_layers
from runtime.images.leases import Lease
from runtime.images.limits import Limits
from runtime.images.locks import lock
from runtime.images.record import ImageRecord
from runtime.images.store import list_images
from runtime.images.tree import is_whiteout
from runtime.images.unpack import LayerWanted, ensure_layer
from runtime.layout import Layout
from schemas.errors import Refused

_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC

Report = Callable[[str, int, int], None]
"""Digest of what is read, parts done, parts in all."""


class Part(StrEnum):
    BLOB = "blob"
    LAYER = "layer"


@dataclass(frozen=True, slots=True)
class Damage:
    """One part of the store that is not what its digest says; `images`: names of those that need it."""

    part: Part
    digest: str
    problem: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """How much was verified, and what of it is damaged."""

    blobs: int
    layers: int
    damages: tuple[Damage, ...]


def check_store(layout: Layout, report: Report = lambda *_: None) -> Checked:
    """Read everything. What is named by an image and missing is damage too. Raises OSError (the disk)."""
    images = list_images(layout)
    store = BlobStore(layout)
    sources = {
        diff_id: blob.digest for image in images for diff_id, blob in zip(image.layers, image.blobs, strict=True)
    }
    blobs = sorted({*store.digests(), *(digest for image in images for digest in _blobs(image))})
    layers = sorted({*list_layers(layout), *sources})
    total = len(blobs) + len(layers)
    found: list[Damage] = []
    broken: set[str] = set()
    for number, digest in enumerate(blobs):
        report(digest, number, total)
        if (problem := _blob_problem(store, digest)) is not None:
            broken.add(digest)
            found.append(Damage(Part.BLOB, digest, problem, _users(images, digest)))
    for number, diff_id in enumerate(layers, len(blobs)):
        report(diff_id, number, total)
        source = sources.get(diff_id, diff_id)
        if (problem := _layer_problem(layout, store, diff_id, source if source not in broken else "")) is not None:
            found.append(Damage(Part.LAYER, diff_id, problem, _users(images, diff_id)))
    return Checked(len(blobs), len(layers), tuple(found))


def condemn(layout: Layout, damage: Damage) -> None:
    """It is in nobody's way any more: the next who needs it brings it anew. Idempotent."""
    if damage.part is Part.BLOB:
        BlobStore(layout).delete(damage.digest)
    else:
        # without its record it is no layer; whoever stands on its files keeps them until it is replaced
        (layer_path(layout, damage.digest) / RECORD).unlink(missing_ok=True)


def _blobs(image: ImageRecord) -> Iterator[str]:
    yield from (digest for digest in (image.digest, image.config_digest) if digest)
    yield from (blob.digest for blob in image.blobs)


def _users(images: tuple[ImageRecord, ...], digest: str) -> tuple[str, ...]:
    return tuple(image.name for image in images if digest in named_digests(image))


def _blob_problem(store: BlobStore, digest: str) -> str | None:
    algorithm, _, encoded = digest.partition(":")
    hasher = hashlib.new(algorithm)
    try:
        with store.open(digest) as content:
            while piece := content.read(_PIECE):
                hasher.update(piece)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return "cannot be read from the disk"
    return None if hasher.hexdigest() == encoded else f"holds {algorithm}:{hasher.hexdigest()}"


def _layer_problem(layout: Layout, store: BlobStore, diff_id: str, blob: str) -> str | None:
    if (problem := layer_damage(layout, diff_id)) is not None:
        return problem
    if not blob or not store.has(blob):
        return None  # nothing to compare it with; the blob's own damage is told
    with _scratch(layout) as scratch, Lease(layout) as lease:
        try:
            ensure_layer(scratch, LayerWanted(store.path(blob), diff_id, blob), Limits(), lease)
        except Refused as error:
            return f"its blob {blob} is unsound: {error.message}"
        ours, theirs = (
            os.open(layer_tree(layout, diff_id), _DIRECTORY),
            os.open(layer_tree(scratch, diff_id), _DIRECTORY),
        )
        try:
            return tree_difference(ours, theirs, b"")
        finally:
            os.close(ours)
            os.close(theirs)


@contextmanager
def _scratch(layout: Layout) -> Iterator[Layout]:
    """A place to unpack into, which the collector removes if we are killed."""
    place = layout.layers / f"fsck-{secrets.token_hex(4)}{PARTIAL}"
    place.mkdir(mode=0o700)
    fd = os.open(place, _DIRECTORY)
    try:
        lock(fd)
        yield Layout(root=place, run=layout.run)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(fd)


def tree_difference(found: int, right: int, path: bytes) -> str | None:
    """The first difference of two directories (descriptors), in words; None where they are alike."""
    if (problem := _metadata_difference(os.fstat(found), os.fstat(right), path)) is not None:
        return problem
    names, wanted = (sorted(os.fsencode(name) for name in os.listdir(fd)) for fd in (found, right))  # noqa: PTH208
    for name in sorted({*names, *wanted}):
        below = path + b"/" + name
        if name not in wanted:
            return f"{_shown(below)} does not belong there"
        if name not in names:
            return f"{_shown(below)} is missing"
        if (problem := _entry_difference(found, right, name, below)) is not None:
            return problem
    return None


def _entry_difference(found: int, right: int, name: bytes, path: bytes) -> str | None:
    status, wanted = (os.stat(name, dir_fd=fd, follow_symlinks=False) for fd in (found, right))
    if stat.S_ISDIR(status.st_mode) and stat.S_ISDIR(wanted.st_mode):
        with _opened(found, right, name, _DIRECTORY) as (one, other):
            return tree_difference(one, other, path)
    if (problem := _metadata_difference(status, wanted, path)) is not None:
        return problem
    if stat.S_ISLNK(status.st_mode):
        same = os.readlink(name, dir_fd=found) == os.readlink(name, dir_fd=right)
        return None if same else f"{_shown(path)} leads elsewhere"
    if stat.S_ISREG(status.st_mode):
        with _opened(found, right, name, _FILE) as (one, other):
            return _content_difference(one, other, path)
    return None


def _metadata_difference(found: os.stat_result, right: os.stat_result, path: bytes) -> str | None:
    for what, ours, theirs in (
        ("mode", found.st_mode, right.st_mode),
        ("owner", (found.st_uid, found.st_gid), (right.st_uid, right.st_gid)),
        ("device", found.st_rdev, right.st_rdev),
        ("time", found.st_mtime_ns, right.st_mtime_ns),
        ("size", found.st_size, right.st_size),
    ):
        if ours != theirs and not _is_incidental(what, found):
            return f"{_shown(path)} has another {what}"
    return None


def _is_incidental(what: str, found: os.stat_result) -> bool:
    """A directory's size is its file system's; a whiteout's time is that of its making, no tar's."""
    return (what == "size" and stat.S_ISDIR(found.st_mode)) or (what == "time" and is_whiteout(found))


def _content_difference(found: int, right: int, path: bytes) -> str | None:
    if _xattrs(found) != _xattrs(right):
        return f"{_shown(path)} has other extended attributes"
    while (piece := os.read(found, _PIECE)) == os.read(right, _PIECE):
        if not piece:
            return None
    return f"{_shown(path)} has another content"


def _xattrs(fd: int) -> dict[str, bytes]:
    with suppress(OSError):
        return {name: os.getxattr(fd, name) for name in os.listxattr(fd)}
    return {}


@contextmanager
def _opened(found: int, right: int, name: bytes, flags: int) -> Iterator[tuple[int, int]]:
    one = os.open(name, flags, dir_fd=found)
    try:
        other = os.open(name, flags, dir_fd=right)
        try:
            yield one, other
        finally:
            os.close(other)
    finally:
        os.close(one)


def _shown(path: bytes) -> str:
    return os.fsdecode(path) or "/"
