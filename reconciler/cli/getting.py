"""The work of `trimtab get`: choose objects, look at them, print them in one of five formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import click

from reconciler.cli.columns import Row, cells, titles
from reconciler.cli.manifests import manifests_text
from reconciler.cli.report import report_text
from reconciler.cli.seen import Seen, read_known
from reconciler.cli.selection import ANY_LABELS, Labels, Selection, read_selection, select
from reconciler.cli.standings import rows_of
from reconciler.cli.table import table_lines
from reconciler.engine import Engine, open_engine
from runtime.layout import Layout


@dataclass(frozen=True, slots=True)
class Asking:
    """The command line, unread."""

    words: tuple[str, ...]
    output: str
    labels: tuple[str, ...] = ()
    set: str | None = None
    origin: bool = False
    secrets: bool = False


def get(layout: Layout, asking: Asking) -> None:
    """Raises Refused for an object or kind that is not there."""
    selection = read_selection(asking.words)
    with open_engine(layout) as engine:
        rows = look_at(engine, selection, Labels.read(asking.labels), asking.set)
    match asking.output:
        case "name":
            lines: Iterator[str] = (str(row.seen.key) for row in rows)
        case "yaml":
            lines = iter([manifests_text([row.seen for row in rows], origin=asking.origin, secrets=asking.secrets)])
        case "json":
            lines = iter([report_text(rows, secrets=asking.secrets)])
        case _:
            lines = _tables(rows, asking, qualified=not selection.is_one)
    for line in lines:
        click.echo(line)


def look_at(
    engine: Engine, selection: Selection, labels: Labels = ANY_LABELS, set_name: str | None = None
) -> list[Row]:
    """The selected objects as rows."""
    known = read_known(engine)
    rows = rows_of(engine, known, select(selection, known.keys))
    return [row for row in rows if _is_asked(row.seen, labels, set_name)]


def _is_asked(seen: Seen, labels: Labels, set_name: str | None) -> bool:
    return labels.match(seen.metadata.get("labels", {})) and set_name in (None, seen.set)


def _tables(rows: Sequence[Row], asking: Asking, *, qualified: bool) -> Iterator[str]:
    """A table for each kind, a blank line between them."""
    if not rows:
        click.echo("No objects.", err=True)
    wide = asking.output == "wide"
    for number, (kind, group) in enumerate(groupby(rows, key=lambda row: row.seen.key.kind)):
        if number:
            yield ""
        told = [cells(row, wide=wide, origin=asking.origin, qualified=qualified) for row in group]
        yield from table_lines(titles(kind, wide=wide, origin=asking.origin), told)
