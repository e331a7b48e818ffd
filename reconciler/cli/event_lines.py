"""The work of `trimtab events`: read them from the store, again and again when following."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import click

from reconciler.caller import caller
from reconciler.cli.quantities import time_text
from reconciler.cli.table import printable
from reconciler.engine import open_engine
from reconciler.store.database import Database
from reconciler.store.events import KEPT, Event, read_events
from runtime.layout import Layout

POLL_SECONDS = 0.25
COLOURS = {"Warning": "yellow"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: of one object, since a moment (seconds since the epoch), of one type, the newest `last`."""

    object: str | None = None
    since: float = 0.0
    type: str | None = None
    last: int = 1000

    def match(self, event: Event) -> bool:
        return event.at >= self.since and self.type in (None, event.type)


def print_events(layout: Layout, wanted: Wanted, output: str, *, follow: bool) -> None:
    """With `follow`, until somebody interrupts it."""
    with open_engine(layout) as engine:
        # before the list: what happens in between would be in neither
        newest = read_events(engine.database, last=1)
        after = newest[-1].id if newest else 0
        seen = [event for event in read_events(engine.database, wanted.object, last=KEPT) if wanted.match(event)]
        for event in seen[len(seen) - min(len(seen), wanted.last) :]:
            _tell(event, output)
        if follow:
            after = max([after, *(event.id for event in seen)])
            for event in _following(engine.database, wanted, after):
                _tell(event, output)


def event_document(event: Event) -> dict[str, str]:
    """As `events -o json` and `describe -o json` have it; documented in docs/objects.md."""
    return {
        "time": time_text(event.at),
        "object": event.object,
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
    }


def _following(database: Database, wanted: Wanted, after: int) -> Iterator[Event]:
    while not caller().has_left():
        for event in read_events(database, wanted.object, after):
            after = max(after, event.id)
            if wanted.match(event):
                yield event
        time.sleep(POLL_SECONDS)


def _tell(event: Event, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(event_document(event), ensure_ascii=False))
        return
    line = f"{time_text(event.at)}  {event.type:7}  {event.object}  {event.reason}: {printable(event.message)}"
    click.secho(line, fg=COLOURS.get(event.type))
