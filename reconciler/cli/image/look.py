"""The work of `trimtab image history`, `diff` and `tag`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

import click

from reconciler.cli.image.names import image_named, refuse_declared
from reconciler.cli.quantities import age_text, size_text
from reconciler.cli.table import printable, shortened, table_lines
from reconciler.resolve.expand import implicit_name
from runtime.images.blobs import BlobStore
from runtime.images.compare import image_changes
from runtime.images.found import read_found
from runtime.images.layers import read_layer
from runtime.images.record import ImageRecord, Origin
from runtime.images.store import layer_directories, write_image
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.reference import Reference

WIDEST = 80


def print_history(layout: Layout, name: str, output: str) -> None:
    """Newest first, as Docker has it. Raises Refused."""
    image = image_named(layout, name)
    lines = list(_history(layout, image))
    if output == "json":
        document = {"apiVersion": "trimtab/v1", "kind": "ImageHistory", "name": image.name, "lines": lines}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    rows = [
        (_age(str(line["created"] or "")), size_text(int(str(line["size"]))), _text(line)) for line in reversed(lines)
    ]
    for row in table_lines(("CREATED", "SIZE", "BY"), rows):
        click.echo(row)


def _history(layout: Layout, image: ImageRecord) -> Iterator[dict[str, object]]:
    try:
        document = read_found(BlobStore(layout), image.digest).document
    except FileNotFoundError as error:
        raise Refused(f"{error.filename} is missing", object=f"Image/{image.name}", step="read history") from error
    told = sum(1 for line in document.history if not line.get("empty_layer"))
    spare = max(0, len(document.diff_ids) - told)
    for diff_id in document.diff_ids[:spare]:  # of a base that tells nothing
        yield _line(layout, {}, diff_id)
    layers = iter(document.diff_ids[spare:])
    for line in document.history:
        yield _line(layout, line, None if line.get("empty_layer") else next(layers, None))


def _line(layout: Layout, line: Mapping[str, object], diff_id: str | None) -> dict[str, object]:
    layer = read_layer(layout, diff_id) if diff_id is not None else None
    return {
        "created": line.get("created"),
        "created_by": line.get("created_by"),
        "author": line.get("author"),
        "comment": line.get("comment"),
        "layer": diff_id,
        "size": layer.bytes if layer is not None else 0,
    }


def _text(line: Mapping[str, object]) -> str:
    said = " ".join(str(line[name]) for name in ("created_by", "comment") if line[name])
    return shortened(printable(said), WIDEST)


def _age(created: str) -> str:
    try:
        return f"{age_text(time.time() - datetime.fromisoformat(created).timestamp())} ago"
    except ValueError:
        return ""


def print_difference(layout: Layout, old: str, new: str) -> int:
    """0: the same files, 1: not. Raises Refused."""
    trees = [layer_directories(layout, image_named(layout, name)) for name in (old, new)]
    found = False
    for change in image_changes(trees[0], trees[1]):
        found = True
        click.echo(printable(change.describe()))
    return 1 if found else 0


def tag(layout: Layout, source: str, target: str) -> str:
    """The name of the image that is also known by the reference `target`. Raises Refused."""
    image = image_named(layout, source)
    try:
        reference = Reference.parse(target)
        name = implicit_name(target)
    except ValueError as error:
        raise Refused(str(error), step="read reference") from error
    if reference.digest is not None:
        raise Refused(f"{target} names a digest", hint="give a tag: the digest is the image's own")
    refuse_declared(layout, name, reference)
    wanted = ImageWanted(name, ref=target, platform=image.platform)
    write_image(
        layout,
        replace(
            image,
            name=name,
            origin=Origin.REF,
            reference=str(reference),
            tags=(str(reference),),
            fingerprint="",
            wanted=wanted.digest(),
            made_at=time.time(),
        ),
    )
    return name
