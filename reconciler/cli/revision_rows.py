"""The work of `trimtab history`: revisions as rows, or one as the manifests it stands for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click

from reconciler.cli.manifests import shown
from reconciler.cli.quantities import age_text, time_text
from reconciler.cli.table import shortened, table_lines
from reconciler.engine import open_engine
from reconciler.store.database import Database
from reconciler.store.inventory import read_sets
from reconciler.store.pins import read_pin
from reconciler.store.revisions import Revision, read_revision, read_revisions
from runtime.layout import Layout
from schemas.errors import Missing, Refused
from schemas.nearest import nearest
from schemas.write_yaml import write_documents

TITLES = ("REVISION", "AGE", "SET", "COMMIT", "OBJECTS", "CHANGE", "CAUSE", "RESULT")
COMMIT_LETTERS = 12
Row = TypeVar("Row")


def print_revisions(layout: Layout, set_name: str | None, output: str, last: int | None = None) -> None:
    """Newest first; the newest `last` of them (None: all). Raises Refused for a set that never was."""
    with open_engine(layout) as engine:
        revisions = read_revisions(engine.database, set_name)
        if set_name is not None and not revisions:
            raise unknown_set(engine.database, set_name)
        pins = {revision.set: read_pin(engine.database, revision.set) for revision in revisions}
    if output == "json":
        document = {"apiVersion": "trimtab/v1", "kind": "History", "revisions": _newest(list(_items(revisions)), last)}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    rows = _newest(list(zip(revisions, _changes(revisions), strict=True)), last)
    for line in table_lines(TITLES, [_row(revision, change) for revision, change in reversed(rows)]):
        click.echo(line)
    for pin in pins.values():
        if pin is not None:
            newer = f" newer than {pin.commit}" if pin.commit else " else"
            click.echo(f"{pin.set} stays at revision {pin.revision} until its source has something{newer}")


def _newest(rows: list[Row], last: int | None) -> list[Row]:
    return rows if last is None else rows[len(rows) - min(last, len(rows)) :]


def _row(revision: Revision, change: str) -> list[str]:
    return [
        *(str(revision.id), age_text(time.time() - revision.at), revision.set, revision.commit[:COMMIT_LETTERS]),
        *(str(len(revision.entries)), change, shortened(revision.cause, 40), revision.summary),
    ]


def _changes(revisions: Sequence[Revision]) -> Iterator[str]:
    """`+2 ~1 -1`: objects added, changed and left out since the set's revision before."""
    before: dict[str, Mapping[str, Any]] = {}
    for revision in revisions:
        new = {str(entry.key): entry.manifest for entry in revision.entries}
        old = before.get(revision.set, {})
        counts = {
            "+": len(new.keys() - old.keys()),
            "~": sum(1 for name in new.keys() & old.keys() if new[name] != old[name]),
            "-": len(old.keys() - new.keys()),
        }
        yield " ".join(f"{sign}{count}" for sign, count in counts.items() if count)
        before[revision.set] = new


def _items(revisions: Sequence[Revision]) -> Iterator[dict[str, object]]:
    for revision, change in zip(revisions, _changes(revisions), strict=True):
        yield {
            "revision": revision.id,
            "time": time_text(revision.at),
            "set": revision.set,
            "commit": revision.commit,
            "objects": [str(entry.key) for entry in revision.entries],
            "change": change,
            "cause": revision.cause,
            "result": revision.summary,
        }


def print_manifests(layout: Layout, set_name: str | None, number: int, output: str) -> None:
    """What was asked for then; contents of Secrets stay hidden."""
    with open_engine(layout) as engine:
        revision = read_revision(engine.database, number)
    if revision is None or set_name not in (None, revision.set):
        raise Missing(f"there is no revision {number}", hint="`trimtab history` lists what there is")
    manifests = [shown(entry.manifest, secrets=False) for entry in revision.entries]
    if output == "json":
        click.echo(json.dumps(manifests, indent=2, ensure_ascii=False))
    else:
        click.echo(write_documents(manifests), nl=False)


def unknown_set(database: Database, name: str) -> Refused:
    """There is no such set; the hint names the nearest, or all."""
    known = list(read_sets(database))
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"there are: {', '.join(known)}" if known else "nothing was applied yet"
    return Missing(f"there is no set {name}", hint=hint)
