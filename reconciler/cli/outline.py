"""Nested values as indented lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.cli.table import printable


def outline(value: Mapping[str, Any], indent: int) -> Iterator[str]:
    """`name: value` lines; what holds more stands below its name. What is None is left out."""
    blank = " " * indent
    for name, item in value.items():
        if item is None:
            continue
        if isinstance(item, Mapping) and item:
            yield f"{blank}{name}:"
            yield from outline(item, indent + 2)
        elif isinstance(item, list | tuple) and any(isinstance(each, Mapping) for each in item):
            yield f"{blank}{name}:"
            for each in item:
                yield from _listed(each, indent + 2)
        else:
            yield from _plain(f"{blank}{name}:", item, indent + 2)


def _listed(item: Any, indent: int) -> Iterator[str]:
    lines = list(outline(item, indent + 2)) if isinstance(item, Mapping) else [f"{' ' * (indent + 2)}{_text(item)}"]
    if lines:
        yield f"{' ' * indent}- {lines[0].lstrip()}"
        yield from lines[1:]


def _plain(head: str, item: Any, indent: int) -> Iterator[str]:
    if isinstance(item, str) and "\n" in item.strip():
        yield head
        yield from (f"{' ' * indent}{printable(line)}" for line in item.rstrip().splitlines())
        return
    yield f"{head} {_text(item)}"


def _text(item: Any) -> str:
    if not item and isinstance(item, list | tuple | Mapping):
        return "(none)"
    if isinstance(item, list | tuple):
        return ", ".join(map(_text, item))
    if isinstance(item, bool):
        return "yes" if item else "no"
    return printable(str(item))
