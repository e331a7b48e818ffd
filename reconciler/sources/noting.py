"""How each source stands, noted in the store, for `get`, `describe`, `wait` and `events`; by the roster's own task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress

from reconciler.sources.standing import FAILED, noted
from reconciler.sources.status import SourceStatus, State
from reconciler.store.database import Database
from reconciler.store.events import Event, read_events, record_events
from reconciler.store.standing import Topic, read_standing, write_standing
from schemas.errors import TrimtabError
from schemas.names import Key, Kind

AGAIN_SECONDS = 1.0
"""Before what could not be written is written again: the last word of each source."""


class Noting:
    """Made and run once, in one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._new: dict[str, list[SourceStatus] | None] = {}
        self._known: set[str] = set()
        self._wake = asyncio.Event()

    def note(self, status: SourceStatus) -> None:
        """To be written soon."""
        self._known.add(status.name)
        self._new[status.name] = [*(self._new.get(status.name) or ()), status]
        self._wake.set()

    def keep(self, names: Collection[str]) -> None:
        """The others are followed no more."""
        gone = self._known - set(names)
        self._known -= gone
        self._new |= dict.fromkeys(gone)
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. A store that cannot be written is tried again, and keeps no source from being followed."""
        with suppress(TrimtabError):
            self._known |= set(await asyncio.to_thread(read_standing, self._database, Topic.SOURCE))
        while True:
            await self._wake.wait()
            self._wake.clear()
            new, self._new = self._new, {}
            try:
                await asyncio.to_thread(write, self._database, new)
            except TrimtabError:
                self._new = {name: each[-1:] if each else None for name, each in new.items()} | self._new
                self._wake.set()
                await asyncio.sleep(AGAIN_SECONDS)


def write(database: Database, new: Mapping[str, list[SourceStatus] | None]) -> None:
    """The last word of each, and an event of each that is news. None forgets one."""
    for statuses in new.values():
        for status in statuses or ():
            event = event_of(status)
            if event is not None and not _is_told(database, event):
                record_events(database, [event])
    write_standing(database, Topic.SOURCE, {name: noted(each[-1]) if each else None for name, each in new.items()})


def event_of(status: SourceStatus) -> Event | None:
    """What of a state is worth an event: what was applied, and why something is not."""
    key = str(Key(Kind.SOURCE, status.name))
    at = f"{status.revision}: " if status.revision else ""
    message = f"{at}{status.message}"
    if status.state in FAILED:
        return Event(status.at or time.time(), key, "Warning", status.reason or status.state.value, message)
    if status.state is State.READY:
        # how many stayed as they were is no news
        return Event(status.at or time.time(), key, "Normal", "Applied", f"{at}{status.subject}".removesuffix(": "))
    if status.state in (State.PINNED, State.SUSPENDED):
        return Event(status.at or time.time(), key, "Normal", status.reason, message)
    return None


def _is_told(database: Database, event: Event) -> bool:
    last = read_events(database, event.object, last=1)
    return bool(last) and (last[0].reason, last[0].message) == (event.reason, event.message)
