"""Removes blobs and layers that nothing names: mark and sweep. And what killed makers left.

Called by the reconciler, when the disk fills or somebody asks. Marks what image records name, what leases of work in
flight name, what the registry's repositories hold, and what the caller says containers stand on; removes the rest.
Decides nothing about records.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.images.blobs import BlobStore
from runtime.images.hosted.kept import hosted
from runtime.images.layers import BROKEN, PARTIAL, layer_path, list_layers, read_layer
from runtime.images.leases import leased, store_lock
from runtime.images.locks import is_same_file, lock
from runtime.images.record import ImageRecord
from runtime.images.store import list_images, unreadable_records
from runtime.layout import Layout
from schemas.errors import Refused

PARTIAL_SECONDS = 24 * 3600.0
"""How long a broken-off download waits to be continued."""
_RECORDS = ("*.new", "pushed/*.new", "attached/*/*.new")
RECORD_SECONDS = 60.0
"""A record that is not in its place by then has no living writer."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed: digests, and the bytes that it took on disk."""

    blobs: tuple[str, ...]
    layers: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes on this engine's disk, each blob and layer counted once; `reclaimable`: what `collect` would remove."""

    blobs: int
    layers: int
    partials: int
    reclaimable: int


def named_digests(record: ImageRecord) -> frozenset[str]:
    """Every blob and layer that the image needs."""
    blobs = (record.digest, record.config_digest, record.resolved, *(blob.digest for blob in record.blobs))
    return frozenset(digest for digest in (*blobs, *record.layers, record.mended) if digest)


@dataclass(frozen=True, slots=True)
class Unneeded:
    """A blob or a layer that nothing names, and the bytes that it takes on disk."""

    part: str
    digest: str
    bytes: int


def unneeded(layout: Layout, in_use: Collection[str], going: Collection[str] = ()) -> tuple[Unneeded, ...]:
    """What `collect` would remove, the largest first; `going`: names of images that are counted as gone."""
    store = BlobStore(layout)
    staying = (record for record in list_images(layout) if record.name not in going)
    kept = leased(layout).union(in_use, hosted(layout), *(named_digests(record) for record in staying))
    blobs = [Unneeded("blob", each, store.size(each) or 0) for each in store.digests() if each not in kept]
    layers = [
        Unneeded("layer", digest, record.bytes if (record := read_layer(layout, digest)) else 0)
        for digest in list_layers(layout)
        if digest not in kept
    ]
    return tuple(sorted((*blobs, *layers), key=lambda each: (-each.bytes, each.digest)))


def collect(layout: Layout, in_use: Collection[str]) -> Collected:
    """Remove what no record, lease or repository, nor `in_use` (diffIDs that containers stand on) names.

    Raises Refused when a record cannot be read: what it names is unknown, so nothing is removed.
    """
    unreadable = unreadable_records(layout)
    if unreadable:
        raise Refused(
            "an image's record cannot be read, so what it uses is unknown",
            step="collect",
            path=str(unreadable[0]),
            hint="apply the image again, or remove the file",
        )
    store = BlobStore(layout)
    with store_lock(layout, shared=False):
        kept = leased(layout).union(in_use, hosted(layout), *(named_digests(record) for record in list_images(layout)))
        blobs = [digest for digest in store.digests() if digest not in kept]
        layers = [digest for digest in list_layers(layout) if digest not in kept]
        size = sum(store.size(digest) or 0 for digest in blobs)
        size += sum(record.bytes for digest in layers if (record := read_layer(layout, digest)))
        for digest in blobs:
            store.delete(digest)
        doomed = [_condemn(layer_path(layout, digest)) for digest in layers]
    for place in doomed:
        shutil.rmtree(place, ignore_errors=True)
    tidy(layout, in_use)
    return Collected(tuple(sorted(blobs)), tuple(sorted(layers)), size)


def tidy(layout: Layout, in_use: Collection[str]) -> None:
    """Remove what killed makers left: layers half unpacked, downloads older than a day, replaced layers.

    `in_use` as for `collect`: a replaced layer stays while a container may still stand on it.
    """
    standing = {layer_path(layout, digest).name for digest in in_use}
    for place in _layer_directories(layout):
        stem, broken, _ = place.name.partition(BROKEN)
        if broken and stem not in standing:
            shutil.rmtree(place, ignore_errors=True)
        elif place.name.endswith(PARTIAL):
            _remove_dead_layer(place)
    for path in BlobStore(layout).partials():
        with suppress(FileNotFoundError):
            anonymous = path.name.startswith("new-")
            _remove_if_dead(path, 0.0 if anonymous else PARTIAL_SECONDS)
    for path in (path for pattern in _RECORDS for path in layout.images.glob(pattern)):
        with suppress(FileNotFoundError):
            _remove_if_dead(path, RECORD_SECONDS)


def disk_usage(layout: Layout, in_use: Collection[str]) -> DiskUsage:
    """What blobs and layers take, without reading them."""
    store = BlobStore(layout)
    kept = frozenset(in_use).union(hosted(layout), *(named_digests(record) for record in list_images(layout)))
    blobs = {digest: store.size(digest) or 0 for digest in store.digests()}
    layers = {digest: record.bytes for digest in list_layers(layout) if (record := read_layer(layout, digest))}
    partials = 0
    for path in store.partials():
        with suppress(FileNotFoundError):
            partials += path.stat().st_size
    lost = [size for sizes in (blobs, layers) for digest, size in sizes.items() if digest not in kept]
    return DiskUsage(sum(blobs.values()), sum(layers.values()), partials, sum(lost))


def _condemn(place: Path) -> Path:
    """Gone at once, by one rename; its files are removed afterwards, and by the next `tidy` after a kill."""
    target = place.with_name(f"{place.name}{BROKEN}-{secrets.token_hex(4)}")
    place.rename(target)
    return target


def _layer_directories(layout: Layout) -> list[Path]:
    with suppress(FileNotFoundError):
        return list(layout.layers.iterdir())
    return []


def _remove_dead_layer(place: Path) -> None:
    """Unless a living maker has it locked. Locked by us meanwhile, so that nobody takes it up."""
    with suppress(FileNotFoundError, NotADirectoryError):
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if lock(fd) and is_same_file(fd, place):
                shutil.rmtree(place, ignore_errors=True)
        finally:
            os.close(fd)


def _remove_if_dead(path: Path, after_seconds: float) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        old = time.time() - os.fstat(fd).st_mtime >= after_seconds
        if old and lock(fd) and is_same_file(fd, path):
            path.unlink()
    finally:
        os.close(fd)
