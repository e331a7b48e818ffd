"""The work of `trimtab system prune`: what nothing uses is shown with its bytes, and goes once somebody has said so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from reconciler.build.cache import files_path, forget_all
from reconciler.build.run_mounts import mounts_kept, trim_mounts
from reconciler.cli.disk_usage import tree_bytes
from reconciler.cli.image.remove import mounted_layers, standing_layers
from reconciler.cli.quantities import size_text
from reconciler.cli.seen import read_known
from reconciler.cli.volume_remove import delete_data
from reconciler.engine import Engine, open_engine
from reconciler.lock import engine_lock
from runtime.images.collect import Unneeded, collect, unneeded
from runtime.images.store import list_images, remove_image
from runtime.layout import Layout
from runtime.volumes.volume import read_volume
from schemas.errors import Refused
from schemas.names import Key, Kind

LOCK_SECONDS = 30.0
SHOWN = 20
AT_ONCE = -1.0
"""Seconds: whenever it was used last."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line."""

    with_images: bool
    with_builds: bool
    with_volumes: bool
    dry_run: bool
    yes: bool
    output: str


@dataclass(frozen=True, slots=True)
class Preview:
    """Names of images and volumes that would go, and the parts that would go with them or by themselves.

    `builds`: bytes that only builds keep, and that stay.
    """

    images: tuple[str, ...]
    parts: tuple[Unneeded, ...]
    volumes: tuple[str, ...] = ()
    builds: int = 0

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)


def prune(layout: Layout, asked: Asked) -> None:
    """Raises Refused where nobody can be asked, RetryLater while another trimtab works."""
    with engine_lock(layout.lock, LOCK_SECONDS), open_engine(layout) as engine:
        preview = _preview(engine, asked)
        _show(preview, asked.output)
        if asked.dry_run or not (preview.images or preview.parts) or not _is_meant(preview, asked):
            return
        for name in preview.images:
            remove_image(layout, name)
            files_path(layout, name).unlink(missing_ok=True)
        if asked.with_builds:
            forget_all(layout)
            trim_mounts(layout, AT_ONCE)
        for name in preview.volumes:
            delete_data(engine, name)
        collect(layout, standing_layers(layout))
        left = {(part.part, part.digest) for part in _preview(engine, asked).parts}
    if asked.output != "json":
        freed = sum(part.bytes for part in preview.parts if (part.part, part.digest) not in left)
        click.echo(f"{size_text(freed)} freed.")


def _preview(engine: Engine, asked: Asked) -> Preview:
    """`builds`: what `--all` would free beyond."""
    layout = engine.layout
    images = tuple(_unused_images(engine)) if asked.with_images else ()
    volumes = tuple(_kept_volumes(engine)) if asked.with_volumes else ()
    parts = unneeded(layout, standing_layers(layout), images)
    all_parts = (*unneeded(layout, mounted_layers(layout), images), *_cache_mounts(layout))
    if asked.with_builds:
        parts, builds = all_parts, 0
    else:
        builds = sum(part.bytes for part in all_parts) - sum(part.bytes for part in parts)
    data = (Unneeded("volume", name, tree_bytes(layout.volumes / name)) for name in volumes)
    return Preview(images, tuple(sorted((*parts, *data), key=lambda each: (-each.bytes, each.digest))), volumes, builds)


def _cache_mounts(layout: Layout) -> Iterator[Unneeded]:
    return (Unneeded("cache mount", path.name, tree_bytes(path)) for path in mounts_kept(layout))


def _kept_volumes(engine: Engine) -> Iterator[str]:
    """Data that outlived its manifest, which nothing uses; not what lies elsewhere."""
    known = read_known(engine)
    for key in sorted(known.by_hand):
        volume = read_volume(engine.layout, key.name) if key.kind is Kind.VOLUME else None
        if volume is not None and not volume.registered and not known.users(key) and not volume.driver_opts:
            yield key.name


def _unused_images(engine: Engine) -> Iterator[str]:
    """Brought by hand, and no container's."""
    known = read_known(engine)
    for record in list_images(engine.layout):
        key = Key(Kind.IMAGE, record.name)
        if key in known.by_hand and not known.users(key):
            yield record.name


def _is_meant(preview: Preview, asked: Asked) -> bool:
    """Raises Abort for a no, Refused where nobody can be asked."""
    if asked.yes:
        return True
    if not os.isatty(0):
        raise Refused(f"{size_text(preview.bytes)} would be freed", step="prune", hint="give --yes if that is meant")
    return click.confirm("Free this?", abort=True)


def _show(preview: Preview, output: str) -> None:
    if output == "json":
        document = {
            "apiVersion": "trimtab/v1",
            "kind": "PrunePreview",
            "images": list(preview.images),
            "volumes": list(preview.volumes),
            "parts": [{"part": each.part, "digest": each.digest, "bytes": each.bytes} for each in preview.parts],
            "bytes": preview.bytes,
            "builds": preview.builds,
        }
        click.echo(json.dumps(document, indent=2))
        return
    for line in _lines(preview.images, preview.parts):
        click.echo(line)
    click.echo(f"{size_text(preview.bytes)} can be freed." if preview.parts or preview.images else "Nothing to free.")
    if preview.builds:
        click.echo(f"Builds keep {size_text(preview.builds)} more: --all frees that, too.")


def _lines(images: Sequence[str], parts: Sequence[Unneeded]) -> Iterator[str]:
    yield from (f"- Image/{name}: brought by hand, used by no container" for name in images)
    yield from (f"- {each.part} {each.digest}  {size_text(each.bytes)}" for each in parts[:SHOWN])
    if len(parts) > SHOWN:
        rest = sum(each.bytes for each in parts[SHOWN:])
        yield f"- and {len(parts) - SHOWN} smaller ones  {size_text(rest)}"
