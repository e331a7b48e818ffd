"""The work of `trimtab system df`: the disk's bytes as tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from reconciler.cli.disk_usage import Part, Usage, read_usage
from reconciler.cli.quantities import size_text
from reconciler.cli.table import table_lines
from runtime.layout import Layout
from schemas.names import API_VERSION


def print_usage(layout: Layout, output: str) -> None:
    """As tables or JSON."""
    usage = read_usage(layout)
    if output == "json":
        click.echo(json.dumps(document(usage), indent=2, ensure_ascii=False))
        return
    for line in _lines(usage):
        click.echo(line)


def document(usage: Usage) -> dict[str, Any]:
    """Bytes throughout. `images`: {"name", "bytes", "shared", "unique"}, blobs included; so `repositories` of the
    registry."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DiskUsage",
        "total": sum(size for _, _, size, _ in _summary(usage)),
        "reclaimable": sum(size for _, _, _, size in _summary(usage)),
        "images": [
            dict(zip(("name", "bytes", "shared", "unique"), (name, *usage.of_image(name)), strict=True))
            for name in _image_names(usage)
        ],
        "repositories": [
            dict(zip(("name", "bytes", "shared", "unique"), (name, *usage.of_repository(name)), strict=True))
            for name in _repository_names(usage)
        ],
        "layers": [asdict(part) | {"reclaimable": part.is_reclaimable} for part in usage.layers],
        "blobs": [asdict(part) | {"reclaimable": part.is_reclaimable} for part in usage.blobs],
        "partials": usage.partials,
        "containers": [asdict(container) for container in usage.containers],
        "volumes": [asdict(volume) for volume in usage.volumes],
    }


def _image_names(usage: Usage) -> list[str]:
    return sorted({name for part in (*usage.layers, *usage.blobs) for name in part.images})


def _repository_names(usage: Usage) -> list[str]:
    return sorted({name for part in usage.blobs for name in part.repositories})


Sum = tuple[str, int, int, int]
"""Type, count, bytes, bytes that nobody uses."""


def _summary(usage: Usage) -> list[Sum]:
    kept = [volume for volume in usage.volumes if not volume.registered]
    return [
        _parts("image layers", usage.layers),
        _parts("image blobs", usage.blobs),
        ("broken-off pulls", int(usage.partials > 0), usage.partials, 0),
        ("containers", len(usage.containers), sum(each.writable for each in usage.containers), 0),
        ("logs", len(usage.containers), sum(each.log for each in usage.containers), 0),
        (
            "volumes",
            len(usage.volumes),
            sum(each.bytes or 0 for each in usage.volumes),
            sum(each.bytes or 0 for each in kept),
        ),
    ]


def _parts(title: str, parts: tuple[Part, ...]) -> Sum:
    unused = sum(part.bytes for part in parts if part.is_reclaimable)
    return title, len(parts), sum(part.bytes for part in parts), unused


def _lines(usage: Usage) -> Iterator[str]:
    sums = _summary(usage)
    rows = [(title, str(count), size_text(size), size_text(unused)) for title, count, size, unused in sums]
    total = ("total", "", size_text(sum(row[2] for row in sums)), size_text(sum(row[3] for row in sums)))
    yield from table_lines(("TYPE", "COUNT", "SIZE", "UNUSED"), [*rows, total])
    images = [(name, *map(size_text, usage.of_image(name))) for name in _image_names(usage)]
    yield from _table(("IMAGE", "SIZE", "SHARED", "UNIQUE"), images)
    repositories = [(name, *map(size_text, usage.of_repository(name))) for name in _repository_names(usage)]
    yield from _table(("REPOSITORY", "SIZE", "SHARED", "UNIQUE"), repositories)
    containers = [(each.name, size_text(each.writable), size_text(each.log)) for each in usage.containers]
    yield from _table(("CONTAINER", "WRITABLE", "LOG"), containers)
    volumes = [
        (each.name, "elsewhere" if each.bytes is None else size_text(each.bytes), "" if each.registered else "kept")
        for each in usage.volumes
    ]
    yield from _table(("VOLUME", "SIZE", "NOTE"), volumes)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield ""
        yield from table_lines(headers, rows)
