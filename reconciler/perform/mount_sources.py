"""The host paths behind a container's mounts: volumes filled at first use, host paths, trees of images."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from reconciler.bundle.mounts import Source
from reconciler.bundle.subtree import layers_below
from reconciler.desired import Desired
from reconciler.perform.context import Context
from reconciler.perform.placing import about
from reconciler.resolve.expand import image_key
from runtime.images.record import ImageRecord
from runtime.images.store import layer_directories, read_image
from runtime.layout import Layout
from runtime.volumes.populate import hand_over, populate
from runtime.volumes.records import VolumeWanted
from runtime.volumes.subpath import open_subpath
from runtime.volumes.volume import (
    ensure_volume,
    is_at_hand,
    remove_volume,
    require_answer,
    takes_ids,
    volume_path,
)
from schemas.container import ContainerSpec
from schemas.errors import Refused, RetryLater
from schemas.mount import Mount
from schemas.names import Key

OWNER_LABEL, TARGET_LABEL = "trimtab/container", "trimtab/target"
"""On unnamed volumes: whose they are, and where it mounts them."""


def image_volumes(spec: ContainerSpec, image: ImageRecord) -> Iterator[Mount]:
    """Unnamed volumes for the paths the image declares and the manifest does not mount (image-spec, Volumes)."""
    taken = {os.path.normpath(mount.target) for mount in spec.mounts}
    for path in image.config.volumes:
        if os.path.normpath(path) not in taken:
            yield Mount(type="volume", target=os.path.normpath(path))


def mount_sources(
    context: Context, want: Desired, spec: ContainerSpec, layers: tuple[Path, ...], id_base: int
) -> Mapping[str, Source]:
    """Target -> what is mounted there. `id_base`: the host's id of the container's root. Raises Refused, RetryLater."""
    found: dict[str, Source] = {}
    for index, mount in enumerate(spec.volumes):
        with about("spec", "volumes", index):
            source = _source(context, want, spec, mount, layers, id_base)
        if source is not None:
            found[mount.target] = source
    return found


def _source(
    context: Context, want: Desired, spec: ContainerSpec, mount: Mount, layers: tuple[Path, ...], id_base: int
) -> Source | None:
    """None for a mount that has no host path, as a tmpfs."""
    match mount.type:
        case "volume":
            return _volume_source(context.engine.layout, want.key.name, mount, layers, id_base)
        case "bind":
            return Source(_bind_source(want, mount))
        case "image":
            return _image_source(context, want, spec, mount)
        case _:
            return None


def _volume_source(layout: Layout, container: str, mount: Mount, layers: tuple[Path, ...], id_base: int) -> Source:
    """A volume's directory or a part of it, filled at first use from what the image holds at the target (Docker)."""
    volume = mount.source or unnamed_volume(container, mount.target)
    if mount.source is None:
        labels = {OWNER_LABEL: container, TARGET_LABEL: mount.target}
        ensure_volume(layout, VolumeWanted(name=volume, labels=labels))
    require_answer(layout, volume)
    options = mount.volume
    offset = id_base if id_base and not takes_ids(layout, volume) else 0
    if options is None or not options.nocopy:
        populate(layout, volume, layers, mount.target, id_offset=offset)
    if offset:
        hand_over(layout, volume, offset)
    if options is not None and options.subpath:
        # opened here to refuse it in words; whoever mounts it opens it anew, beneath the volume again
        os.close(open_subpath(layout, volume, options.subpath))
        return Source(volume_path(layout, volume), subpath=options.subpath, at_hand=is_at_hand(layout, volume))
    return Source(volume_path(layout, volume), at_hand=is_at_hand(layout, volume))


def unnamed_volume(container: str, target: str) -> str:
    """The same each time, so that a replaced container finds its data again, as with Compose."""
    return f"{container[:40]}-{hashlib.sha256(f'{container}:{target}'.encode()).hexdigest()[:12]}"


def release_unnamed(layout: Layout, container: str, targets: Iterator[str]) -> None:
    """Nobody wants the unnamed volumes of a container that is gone; their files stay, as those of any volume."""
    for target in targets:
        name = unnamed_volume(container, target)
        if volume_path(layout, name).is_dir():
            remove_volume(layout, name, delete_data=False)


def _bind_source(want: Desired, mount: Mount) -> Path:
    path = Path(mount.source or "")
    if path.exists():
        return path
    if mount.bind is not None and not mount.bind.create_host_path:
        raise Refused(
            "the path to mount is not there",
            object=str(want.key),
            step="mount",
            path=str(path),
            errno=errno.ENOENT,
            hint="create it, or write create_host_path: true",
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            error.strerror or "cannot be made", object=str(want.key), step="mount", path=str(path), errno=error.errno
        ) from error
    return path


def _image_source(context: Context, want: Desired, spec: ContainerSpec, mount: Mount) -> Source:
    key = image_key(mount.source or "", spec, context.declared)
    layers = layers_of(context, want, key)
    subpath = mount.image.subpath if mount.image is not None else None
    if subpath:
        layers = layers_below(layers, subpath)
        if not layers:
            raise Refused(f"{key} has no directory {subpath}", object=str(want.key), step="mount", path=mount.target)
    return Source(layers[0], layers)


def layers_of(context: Context, want: Desired, key: Key) -> tuple[Path, ...]:
    """An image's layer directories, highest first. Raises RetryLater."""
    return layer_directories(context.engine.layout, image_of(context, want, key))


def image_of(context: Context, want: Desired, key: Key) -> ImageRecord:
    """The image as it was brought. Raises RetryLater where it was not."""
    image = read_image(context.engine.layout, key.name)
    if image is None:
        raise RetryLater(f"{key} is not there", object=str(want.key), step="find the image")
    return image
