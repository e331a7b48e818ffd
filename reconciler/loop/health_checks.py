"""Health checks of all containers that have one: when each is due, and what is made of its results.

Lives in the loop's own thread; the checks themselves run in the worker's threads, so many at once. What changes a
container's health marks it, its Services and whoever waits for it.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from reconciler.actions import Change, Effect
from reconciler.engine import Engine
from reconciler.health import Check, Health, HealthStatus, after, begin, may_act, pause
from reconciler.loop.passes import Living
from reconciler.loop.settings import Tell, Worker
from reconciler.loop.timers import tell_fault
from reconciler.observe.containers import init_word
from reconciler.probes import probe, start_of
from reconciler.store.events import Event, record_events
from reconciler.store.health import Known, write_health
from runtime.process.records import Phase, ProcessRecord
from schemas.errors import TrimtabError
from schemas.names import Key

REMEMBERED_SECONDS = 3600.0


@dataclass(slots=True)
class Watched:
    """One container under its check. `acted`: when it was restarted or replaced for its health."""

    key: Key
    process: ProcessRecord
    check: Check
    health: Health
    acted: list[float] = field(default_factory=list)
    busy: bool = False
    round: int = 0
    """Of the timer: an older one counts for nothing."""


class HealthChecks:
    """Made and used in one event loop. `changed` is called with the container whose health changed, and how."""

    def __init__(
        self, engine: Engine, worker: Worker, most: int, tell: Tell, changed: Callable[[Key, str], None]
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._limit = asyncio.Semaphore(most)
        self._tell = tell
        self._changed = changed
        self._watched: dict[Key, Watched] = {}
        self._due: list[tuple[float, int, Key, int]] = []
        self._order = count()
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._watched)

    def status_of(self, key: Key) -> Health | None:
        watched = self._watched.get(key)
        return watched.health if watched is not None else None

    def follow(self, living: Iterable[Living]) -> None:
        """Containers as they are now: a new process begins anew, an old one goes on."""
        for each in living:
            known = self._watched.get(each.key)
            if each.check is None:
                self._watched.pop(each.key, None)
            elif known is None or not _is_same(known.process, each.process):
                self._begin(each, each.check, known)
            else:
                known.process = each.process
                if known.check != each.check:
                    known.check = each.check
                    self._schedule(known)

    def _begin(self, each: Living, check: Check, before: Watched | None) -> None:
        started = start_of(each.process)
        stored = each.health
        same = stored is not None and stored.init == init_word(each.process)
        health = Health(stored.status, started, stored.streak) if stored is not None and same else begin(started)
        acted = before.acted if before is not None else list(stored.acted) if stored is not None else []
        watched = Watched(each.key, each.process, check, health, acted)
        self._watched[each.key] = watched
        if not same:
            self._begin_task(self._record(watched))
        self._schedule(watched)

    def forget(self, key: Key) -> None:
        """Its process has ended."""
        self._watched.pop(key, None)

    def urged(self, keys: Iterable[Key]) -> dict[Key, tuple[Change, ...]]:
        """Of the keys, those to be restarted or replaced for their health."""
        found: dict[Key, tuple[Change, ...]] = {}
        for key in keys:
            watched = self._watched.get(key)
            if watched is None or watched.health.status is not HealthStatus.UNHEALTHY:
                continue
            if may_act(watched.check, watched.acted, time.time()):
                effect = Effect.named(watched.check.on_unhealthy)
                found[key] = (Change(("health",), "unhealthy", "healthy", effect, drift=True),)
        return found

    def acted_on(self, key: Key) -> None:
        """It was restarted or replaced for its health; `follow` tells of its new process next."""
        watched = self._watched.get(key)
        if watched is not None:
            now = time.time()
            watched.acted = [*(at for at in watched.acted if now - at < REMEMBERED_SECONDS), now]

    async def _record(self, watched: Watched, events: Sequence[Event] = ()) -> None:
        """In the order in which it is called. A store that cannot be written keeps nobody from being checked."""
        health = watched.health
        known = Known(init_word(watched.process), health.status, health.streak, health.output, tuple(watched.acted))
        async with self._writing:
            try:
                await self._worker.do(write_health, self._engine.database, {watched.key.name: known})
                await self._worker.do(record_events, self._engine.database, events)
            except TrimtabError as error:
                self._tell("store.failed", {"error": str(error)})

    def _begin_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _schedule(self, watched: Watched) -> None:
        watched.round += 1
        now = time.monotonic()
        at = now + pause(watched.check, watched.health, now)
        heapq.heappush(self._due, (at, next(self._order), watched.key, watched.round))
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                self._wake.clear()
                self._begin_due()
                left = self._due[0][0] - time.monotonic() if self._due else None
                try:
                    async with asyncio.timeout(left):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        except asyncio.CancelledError:
            # not at a fault: then it goes on, and a check that was cancelled would never be due again
            for task in self._tasks:
                task.cancel()
            raise

    def _begin_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, key, number = heapq.heappop(self._due)
            watched = self._watched.get(key)
            if watched is not None and watched.round == number and not watched.busy:
                self._begin_task(self._check(watched))

    async def _check(self, watched: Watched) -> None:
        watched.busy = True
        try:
            if watched.process.phase is not Phase.PAUSED:
                async with self._limit:
                    result = await self._worker.do(probe, self._engine.layout, watched.process, watched.check)
                if self._watched.get(watched.key) is watched:
                    await self._take_in(watched, after(watched.check, watched.health, result))
        except Exception as error:
            left = pause(watched.check, watched.health, time.monotonic())
            tell_fault(f"health of {watched.key}", error, self._tell, left)
        finally:
            watched.busy = False
        if self._watched.get(watched.key) is watched:
            self._schedule(watched)

    async def _take_in(self, watched: Watched, health: Health) -> None:
        before, watched.health = watched.health, health
        if health.status is before.status:
            return
        kind = "Warning" if health.status is HealthStatus.UNHEALTHY else "Normal"
        event = Event(time.time(), str(watched.key), kind, health.status.value.capitalize(), health.output)
        await self._record(watched, [event])
        self._tell("health", {"object": str(watched.key), "status": health.status.value, "output": health.output})
        self._changed(watched.key, f"it is {health.status.value}")


def _is_same(one: ProcessRecord, other: ProcessRecord) -> bool:
    return (one.pid, one.start_time) == (other.pid, other.start_time)
