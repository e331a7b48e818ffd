"""Bytes on this engine's disk, counted as du(1) does: blocks, each hard link once, never into another file system.

Called by `system df`. Layers and blobs are named by digest; a layer that several images name is counted once and told
apart. What is removed meanwhile counts nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.images.blobs import BlobStore
from runtime.images.collect import named_digests
from runtime.images.hosted.kept import hosted
from runtime.images.layers import layer_path, list_layers
from runtime.images.store import list_images
from runtime.layout import Layout
from runtime.volumes.volume import list_retained, list_volumes, read_volume

BLOCK = 512
"""Bytes that st_blocks counts in (inode(7))."""


@dataclass(frozen=True, slots=True)
class Part:
    """A layer or a blob. `images`: who names it; `containers`: whose root it is, for layers; `repositories` of the
    registry that need it."""

    digest: str
    bytes: int
    images: tuple[str, ...]
    containers: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()

    @property
    def is_reclaimable(self) -> bool:
        return not self.images and not self.containers and not self.repositories


@dataclass(frozen=True, slots=True)
class ContainerBytes:
    """`writable`: what it changed of its image, and its bundle; `log`: its output, kept."""

    name: str
    writable: int
    log: int


@dataclass(frozen=True, slots=True)
class VolumeBytes:
    """`bytes` None: its data is not on this file system (a mount of another)."""

    name: str
    bytes: int | None
    registered: bool


@dataclass(frozen=True, slots=True)
class Usage:
    layers: tuple[Part, ...]
    blobs: tuple[Part, ...]
    partials: int
    containers: tuple[ContainerBytes, ...]
    volumes: tuple[VolumeBytes, ...]

    def of_image(self, name: str) -> tuple[int, int, int]:
        """Layers and blobs of an image together: all, shared with another image, its alone."""
        own = [part for part in (*self.layers, *self.blobs) if name in part.images]
        shared = sum(part.bytes for part in own if len(part.images) > 1)
        whole = sum(part.bytes for part in own)
        return whole, shared, whole - shared

    def of_repository(self, name: str) -> tuple[int, int, int]:
        """Blobs of a repository together: all, shared with another one or an image, its alone."""
        own = [part for part in self.blobs if name in part.repositories]
        shared = sum(part.bytes for part in own if len(part.repositories) > 1 or part.images)
        whole = sum(part.bytes for part in own)
        return whole, shared, whole - shared


def read_usage(layout: Layout) -> Usage:
    """One look at the disk; sizes in bytes."""
    namers: dict[str, list[str]] = {}
    for image in list_images(layout):
        for digest in named_digests(image):
            namers.setdefault(digest, []).append(image.name)
    store, needed = BlobStore(layout), hosted(layout)
    return Usage(
        layers=tuple(_layers(layout, namers)),
        blobs=tuple(
            Part(
                digest,
                tree_bytes(store.path(digest)),
                tuple(namers.get(digest, ())),
                repositories=needed.get(digest, ()),
            )
            for digest in sorted(store.digests())
        ),
        partials=sum(tree_bytes(path) for path in store.partials()),
        containers=tuple(_containers(layout)),
        volumes=tuple(_volumes(layout)),
    )


def _layers(layout: Layout, namers: Mapping[str, list[str]]) -> Iterator[Part]:
    standing = read_standing(layout)
    for digest in list_layers(layout):
        path = layer_path(layout, digest)
        yield Part(digest, tree_bytes(path), tuple(namers.get(digest, ())), tuple(standing.get(path.name, ())))


def read_standing(layout: Layout) -> dict[str, list[str]]:
    """Name of a layer's directory -> containers whose root it is part of, by their bundles."""
    found: dict[str, list[str]] = {}
    for directory in _directories(layout.root / "containers"):
        with suppress(OSError, ValueError, KeyError):
            config = json.loads((directory / "config.json").read_bytes())
            for lower in json.loads(config["annotations"]["trimtab/rootfs"])["lower"]:
                found.setdefault(Path(lower).parent.name, []).append(directory.name)
    return found


def _containers(layout: Layout) -> Iterator[ContainerBytes]:
    for directory in _directories(layout.root / "containers"):
        log = tree_bytes(directory / "log")
        yield ContainerBytes(directory.name, tree_bytes(directory) - log, log)


def _volumes(layout: Layout) -> Iterator[VolumeBytes]:
    registered = list_volumes(layout)
    for name in sorted({*registered, *list_retained(layout)}):
        found = read_volume(layout, name)
        elsewhere = found is None or bool(found.driver_opts)
        yield VolumeBytes(name, None if elsewhere else tree_bytes(layout.volumes / name), name in registered)


def _directories(parent: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return sorted(path for path in parent.iterdir() if path.is_dir())
    return []


def tree_bytes(path: Path) -> int:
    """What a file or a directory with all below it takes on the disk."""
    try:
        top = path.lstat()
    except FileNotFoundError:
        return 0
    counted: set[int] = set()
    return top.st_blocks * BLOCK + sum(_below(path, top.st_dev, counted))


def _below(path: Path, device: int, counted: set[int]) -> Iterator[int]:
    pending = [os.fspath(path)]
    while pending:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if found.st_dev != device or found.st_ino in counted:
                        continue
                    if found.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        counted.add(found.st_ino)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    yield found.st_blocks * BLOCK
