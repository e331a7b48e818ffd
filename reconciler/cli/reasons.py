"""The work of `trimtab why`: requests and deeds in the order of time, and what is left to do now.

Requests are the revisions where the object's manifest (or its Service's) changed; deeds are its events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from reconciler.actions import Effect
from reconciler.cli.columns import Row, origin_text
from reconciler.cli.describing import find_key
from reconciler.cli.getting import look_at
from reconciler.cli.left_to_do import Left, left_to_do
from reconciler.cli.quantities import age_text, time_text
from reconciler.cli.selection import Selection
from reconciler.cli.table import printable
from reconciler.diff import diff_fields
from reconciler.engine import open_engine
from reconciler.history import manifest_in
from reconciler.store.events import read_events
from reconciler.store.pins import Pin, read_pin
from reconciler.store.revisions import Revision, read_revisions
from runtime.layout import Layout
from schemas.names import Key

DEEDS = 20


@dataclass(frozen=True, slots=True)
class Reason:
    """One link of the chain; `at` in seconds since the epoch, `revision` where it was a request."""

    at: float
    text: str
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Why:
    """An object, the chain that led to it, oldest first, and what is left to do."""

    row: Row
    owner: Row | None
    chain: Sequence[Reason]
    left: Left
    pinned: str


def why(layout: Layout, name: str, output: str) -> None:
    """Raises Refused for an object that is not there."""
    found = _find(layout, name)
    if output == "json":
        click.echo(json.dumps(_document(found), indent=2, ensure_ascii=False))
        return
    for line in _lines(found):
        click.echo(line)


def _find(layout: Layout, name: str) -> Why:
    with open_engine(layout) as engine:
        key = find_key(engine, name)
        (row,) = look_at(engine, Selection(keys=(key,)))
        owner = row.seen.record.owner if row.seen.record is not None else None
        owners = look_at(engine, Selection(keys=(owner,))) if owner is not None else []
        asked_for = owner or key
        chain = [
            *_requests(read_revisions(engine.database, row.seen.set), asked_for),
            *(Reason(e.at, f"{e.reason}: {e.message}") for e in read_events(engine.database, str(key), last=DEEDS)),
        ]
        pin = read_pin(engine.database, row.seen.set)
        left = left_to_do(engine, row)
    return Why(
        row,
        owners[0] if owners else None,
        sorted(chain, key=lambda reason: reason.at),
        left,
        _pinned(pin) if pin is not None else "",
    )


def _pinned(pin: Pin) -> str:
    what = pin.commit or "what its source offered then"
    return f"rolled back to revision {pin.revision}: {what} is not applied again"


def _requests(revisions: Sequence[Revision], key: Key) -> Iterator[Reason]:
    """The revisions where what was asked of the object changed."""
    before: Any = None
    for revision in revisions:
        now = manifest_in(revision.entries, key)
        if now != before:
            place = next((f"{entry.file}:{entry.line}" for entry in revision.entries if entry.key == key), "")
            yield Reason(revision.at, _request(before, now, place, revision), revision.id)
        before = now


def _request(before: Any, now: Any, place: str, revision: Revision) -> str:
    commit = f", commit {revision.commit[:12]}" if revision.commit else ""
    by = f"revision {revision.id} ({revision.cause}{commit})"
    if now is None:
        return f"{by} asked for it no longer"
    if before is None:
        return f"{by} asked for it at {place}"
    changes = diff_fields(now, before, lambda path: Effect.LIVE, lambda path: None, secret=now["kind"] == "Secret")
    return f"{by} changed it at {place}: {'; '.join(change.describe() for change in changes)}"


def _lines(found: Why) -> Iterator[str]:
    seen, standing = found.row.seen, found.row.standing
    yield f"{seen.key} is {standing.health.value}: {standing.status}"
    if standing.next:
        yield f"  {standing.next}"
    asked = found.owner.seen if found.owner is not None else seen
    if asked.entry is not None:
        whose = f"{asked.key} at " if asked is not seen else ""
        yield f"  asked for by {whose}{origin_text(asked)}, generation {asked.entry.generation}"
    else:
        yield "  asked for by no manifest"
    if found.pinned:
        yield f"  {found.pinned}"
    if found.row.stray:
        yield f"  not as its source has it: {printable(found.row.stray)}"
    if found.chain:
        yield "What led to it:"
    for reason in found.chain:
        yield f"  {age_text(found.row.now - reason.at)} ago  {printable(reason.text)}"
    yield from _left(found)


def _left(found: Why) -> Iterator[str]:
    differences, left = found.row.seen.differences, found.left
    if not differences and not left.actions and not left.waits_for:
        yield "Nothing is left to do."
    if differences:
        yield "Still differs (`trimtab apply` mends it):"
        yield from (f"  {change.describe()}" for change in differences)
    elif left.actions:
        yield "Still to be done (`trimtab apply` tries again):"
        yield from (f"  {printable(action.describe())}" for action in left.actions)
    if left.failure and (differences or left.actions):
        yield f"The last try failed: {printable(left.failure)}"
    if left.waits_for:
        yield "Waits for:"
        yield from (f"  {printable(each)}" for each in left.waits_for)


def _document(found: Why) -> dict[str, Any]:
    seen = found.row.seen
    entry = (found.owner.seen if found.owner is not None else seen).entry
    return {
        "apiVersion": "trimtab/v1",
        "kind": "Why",
        "object": str(seen.key),
        "health": found.row.standing.health.value,
        "status": found.row.standing.status,
        "origin": {"file": entry.file, "line": entry.line, "commit": entry.commit or None} if entry else None,
        "set": seen.set or None,
        "generation": entry.generation if entry else None,
        "pinned": found.pinned or None,
        "changedByHand": found.row.stray or None,
        "chain": [{"time": time_text(r.at), "revision": r.revision, "text": r.text} for r in found.chain],
        "differences": [change.describe() for change in seen.differences],
        "pending": [action.describe() for action in found.left.actions],
        "failure": found.left.failure or None,
        "waitsFor": list(found.left.waits_for),
    }
