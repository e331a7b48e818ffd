"""The work of `trimtab image ls` and `inspect`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

import click

from reconciler.cli.details import image_facts
from reconciler.cli.image.names import image_named
from reconciler.cli.quantities import age_text, size_text
from reconciler.cli.table import table_lines
from reconciler.engine import open_engine
from reconciler.store.records import read_records
from runtime.images.record import ImageRecord
from runtime.images.store import damage, list_images
from runtime.layout import Layout
from schemas.names import API_VERSION, Kind

TITLES = ("NAME", "REFERENCE", "PLATFORM", "SIZE", "LAYERS", "AGE", "STATUS", "USED BY")


def print_images(layout: Layout, output: str) -> None:
    """As a table, JSON or names."""
    images = list_images(layout)
    if output == "name":
        for image in images:
            click.echo(image.name)
        return
    users = read_users(layout)
    if output == "json":
        items = [image_facts(image) | {"name": image.name, "usedBy": users.get(image.name, [])} for image in images]
        click.echo(json.dumps({"apiVersion": API_VERSION, "kind": "ImageList", "items": items}, indent=2))
        return
    for line in table_lines(TITLES, [_row(layout, image, users, time.time()) for image in images]):
        click.echo(line)


def _row(layout: Layout, image: ImageRecord, users: Mapping[str, Sequence[str]], now: float) -> Sequence[str]:
    return (
        image.name,
        image.tags[0] if image.tags else image.reference,
        str(image.platform),
        size_text(image.size),
        str(len(image.layers)),
        age_text(now - image.made_at),
        "damaged" if damage(layout, image) else "intact",
        ",".join(users.get(image.name, ())),
    )


def read_users(layout: Layout) -> dict[str, list[str]]:
    """Name of an image -> containers made of it."""
    if not layout.store.exists():
        return {}
    with open_engine(layout) as engine:
        records = read_records(engine.database)
    found: dict[str, list[str]] = {}
    for key in sorted(records):
        for need in records[key].needs:
            if need.kind is Kind.IMAGE:
                found.setdefault(need.name, []).append(key.name if key.kind is Kind.CONTAINER else str(key))
    return found


def print_details(layout: Layout, names: Sequence[str]) -> None:
    """A JSON list, one object for each name, as `docker inspect` has it."""
    users = read_users(layout)
    images = [image_named(layout, name) for name in names]
    items = [{"name": image.name, **image_facts(image), "usedBy": users.get(image.name, [])} for image in images]
    click.echo(json.dumps(items, indent=2, ensure_ascii=False))
