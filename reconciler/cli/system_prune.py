"""The work of `trimtab system prune`: what nothing uses is shown with its bytes, and goes once somebody has said so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from reconciler.cli.image_remove import standing_layers
from reconciler.cli.quantities import size_text
from reconciler.cli.seen import read_known
from reconciler.engine import Engine, open_engine
from reconciler.lock import engine_lock
from runtime.images.collect import Unneeded, collect, unneeded
from runtime.images.store import list_images, remove_image
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import Key, Kind

LOCK_SECONDS = 30.0
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line."""

    with_images: bool
    dry_run: bool
    yes: bool
    output: str


@dataclass(frozen=True, slots=True)
class Preview:
    """Names of images that would go, and the parts that would go with them or by themselves."""

    images: tuple[str, ...]
    parts: tuple[Unneeded, ...]

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)


def prune(layout: Layout, asked: Asked) -> None:
    """Raises Refused where nobody can be asked, RetryLater while another trimtab works."""
    with engine_lock(layout.lock, LOCK_SECONDS), open_engine(layout) as engine:
        preview = _preview(engine, with_images=asked.with_images)
        _show(preview, asked.output)
        if asked.dry_run or not (preview.images or preview.parts) or not _is_meant(preview, asked):
            return
        for name in preview.images:
            remove_image(layout, name)
        collected = collect(layout, standing_layers(layout))
    if asked.output != "json":
        click.echo(f"{size_text(collected.bytes)} freed.")


def _preview(engine: Engine, *, with_images: bool) -> Preview:
    layout = engine.layout
    images = tuple(_unused_images(engine)) if with_images else ()
    return Preview(images, unneeded(layout, standing_layers(layout), images))


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
            "parts": [{"part": each.part, "digest": each.digest, "bytes": each.bytes} for each in preview.parts],
            "bytes": preview.bytes,
        }
        click.echo(json.dumps(document, indent=2))
        return
    for line in _lines(preview.images, preview.parts):
        click.echo(line)
    click.echo(f"{size_text(preview.bytes)} can be freed." if preview.parts or preview.images else "Nothing to free.")


def _lines(images: Sequence[str], parts: Sequence[Unneeded]) -> Iterator[str]:
    yield from (f"- Image/{name}: brought by hand, used by no container" for name in images)
    yield from (f"- {each.part} {each.digest}  {size_text(each.bytes)}" for each in parts[:SHOWN])
    if len(parts) > SHOWN:
        rest = sum(each.bytes for each in parts[SHOWN:])
        yield f"- and {len(parts) - SHOWN} smaller ones  {size_text(rest)}"
