"""The loop itself: waits for marks, looks at what is marked, and marks again what has to wait.

Lives in one event loop; everything that touches kernel, disk or store happens in the worker's threads. A few passes run
beside each other, so that a container that takes its time to stop keeps nobody waiting; no two act on one object. Reads
what is wanted from the store, so it does not care who applied it, or where.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconciler.actions import Action, Verb
from reconciler.apply import Outcome, Result, Stop, never
from reconciler.backoff import after_failure, is_final
from reconciler.engine import Engine
from reconciler.images.following import Following
from reconciler.intent import Declarations
from reconciler.loop.claims import Claims
from reconciler.loop.dirty import Dirty
from reconciler.loop.drifting import Drifting
from reconciler.loop.health_checks import HealthChecks
from reconciler.loop.memory import Memory
from reconciler.loop.passes import Passed, Passing, pass_over
from reconciler.loop.settings import LoopSettings, Tell, Worker, silent
from reconciler.loop.standings import Standings
from reconciler.loop.timers import kept
from reconciler.loop.wanted import Wanted, changed, data_version, read_wanted
from reconciler.loop.watch_firewall import OwnThreads
from reconciler.loop.watch_memory import out_of_memory
from reconciler.loop.watching import Watching
from reconciler.observe.containers import init_word
from reconciler.restart import Restarts
from reconciler.steering import Steering
from reconciler.store.events import Event, record_events
from schemas.errors import TrimtabError
from schemas.names import Key, Kind

AT_ONCE = 100
"""Objects of one pass: so many cost little more than one, and what happens meanwhile need not wait for long."""
POSTPONED_SECONDS = 0.1
ROLLOUT_SECONDS = 1.0
"""Between two looks at a rollout that is under way, at most."""
ENDING_SECONDS = 15.0
"""For actions that are under way when the loop is to end."""


class Loop:
    """Made anywhere, run once. `tell` hears what happens, in the loop's own thread; `stop` is asked before actions."""

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        settings: LoopSettings | None = None,
        tell: Tell = silent,
        stop: Stop = never,
    ) -> None:
        self.settings = settings or LoopSettings()
        self.memory = Memory()
        self.wanted = Wanted()
        self.passes = 0
        self._engine = engine
        self._worker = worker
        self._tell = tell
        self._dirty = Dirty()
        self._declarations = Declarations()
        self._threads = OwnThreads()
        self._stale = True
        self._fault: BaseException | None = None
        self._ending = False
        self._followed: dict[Key, str] = {}
        self._blocked: set[Key] = set()
        """To be looked at once any pass has ended: what they stand on was in somebody else's hands."""
        self._wake: asyncio.Event = asyncio.Event()
        self._idle: asyncio.Event = asyncio.Event()
        self._claims = Claims(engine.layout.lock)
        self._running: dict[asyncio.Task[None], frozenset[Key]] = {}
        self._recording: set[asyncio.Task[None]] = set()
        self._stop = stop
        self._standings = Standings(engine, self.memory)
        self._drifting = Drifting()

    def mark(self, keys: Iterable[Key], why: str) -> None:
        """Look at these as soon as possible. In the loop's own thread."""
        self._dirty.mark(keys, why)
        self._wake.set()

    def mark_all(self, why: str) -> None:
        """Look at everything, after what is known to have changed."""
        self._dirty.mark(self.wanted.desired, why, last=True)
        self._wake.set()

    def _renew(self, keys: Iterable[Key], why: str) -> None:
        """Another try, whatever came of the last."""
        for key in keys:
            self.memory.forget(key)
        self.mark(keys, why)

    def asked_changed(self) -> None:
        """Something was applied by way of our own connection to the store."""
        self._stale = True
        self._wake.set()

    @property
    def waiting(self) -> int:
        """How many objects are to be looked at, now or later."""
        return len(self._dirty)

    async def settled(self) -> None:
        """Until there is nothing to look at now."""
        while not self._idle.is_set() or self._stale:
            await self._idle.wait()
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Until it is cancelled. May be run again after it failed."""
        self._begin_anew()
        watching = Watching(
            *(self._engine, self._threads, self.mark, self.mark_all, self._killed_for_memory, self._renew),
            tell=self._tell,
        )
        self._health = HealthChecks(self._engine, self._worker, self.settings.probes, self._tell, self._health_changed)
        following = Following(self._engine, self._worker, lambda: self.wanted, self._renew, self._tell, self._steering)
        work = {
            "resync": self._resync,
            "store": self._watch_store,
            "health": self._health.run,
            "following": following.run,
        }
        timers = [asyncio.create_task(kept(name, each, self._tell)) for name, each in work.items()]
        try:
            while True:
                if (fault := self._fault) is not None:
                    self._fault = None
                    raise fault
                if self._stale:
                    await self._refresh(watching)
                self._begin(watching)
                await self._rest()
        finally:
            self._ending = True
            for timer in timers:
                timer.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=ENDING_SECONDS)
            watching.close()

    def _begin_anew(self) -> None:
        self._fault, self._ending, self._stale = None, False, True
        self._followed = {}

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self.settings.resync)
            # a set that could not be resolved may be by now; of the others the store would tell
            self._stale = self._stale or bool(self.wanted.faults)
            self.mark_all("resync")

    async def _watch_store(self) -> None:
        """Whether another process has applied something."""
        while True:
            await asyncio.sleep(self.settings.store_poll)
            if data_version(self._engine) != self.wanted.version:
                self.asked_changed()

    async def _refresh(self, watching: Watching) -> None:
        self._stale = False
        before = self.wanted
        self.wanted = await self._worker.do(read_wanted, self._engine, self._declarations)
        watching.know(self.wanted)
        await self._worker.do(self._standings.forget, self.wanted)
        for name, error in self.wanted.faults.items():
            if str(before.faults.get(name)) != str(error):
                self._tell("set.stalled", {"set": name, "error": str(error)})
        self._heed_steering(before)
        if not before.desired:
            self.memory.restarts = {name: Restarts(count) for name, count in self.wanted.restarts.items()}
        fresh = changed(before, self.wanted)
        self.wanted = replace(self.wanted, fresh=frozenset(fresh))
        for key in fresh:
            if before.desired:
                self.memory.forget(key)
            self._dirty.mark([key], "it is wanted differently" if before.desired else "the loop started")

    def _heed_steering(self, before: Wanted) -> None:
        """What was suspended, resumed, or asked for by hand since is looked at."""
        wanted = self.wanted
        names = {name for name, told in wanted.steering.items() if told != before.steering.get(name)}
        names |= before.steering.keys() - wanted.steering.keys()
        if not names or not before.desired:
            return
        keys = {key for key, of in wanted.set_of.items() if str(key) in names or f"set/{of}" in names}
        keys |= {key for key, want in wanted.desired.items() if want.owner in keys}
        for key in keys:
            self.memory.forget(key)
        self.mark(keys, "somebody asked for it")

    async def _rest(self) -> None:
        """Until something is marked or due, or a pass has ended."""
        self._wake.clear()
        full = len(self._running) >= self.settings.passes
        due = None if full else self._dirty.next_at(self._busy())
        left = None if due is None else due - time.monotonic()
        if self._stale or (left is not None and left <= 0):
            return
        if not self._running:
            self._idle.set()
        try:
            # not wait_for, which may forget that it was cancelled
            async with asyncio.timeout(left):
                await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            self._idle.clear()

    def _busy(self) -> frozenset[Key]:
        """What the passes under way were begun for, and what they act on."""
        return frozenset().union(self._claims.held, *self._running.values())

    def _begin(self, watching: Watching) -> None:
        """A pass for each set of which something is due."""
        if len(self._running) >= self.settings.passes:
            return
        due = self._dirty.take(time.monotonic(), AT_ONCE, self._busy())
        for name, keys in self.wanted.by_set(due).items():
            task = asyncio.create_task(self._pass(watching, name, {key: due[key] for key in keys}))
            self._running[task] = frozenset(keys)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._dirty.mark(self._blocked, "somebody acted on what it stands on")
        self._blocked.clear()
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            self._fault = task.exception()

    def _passing(self) -> Passing:
        """By the settings as they are now."""
        settings = self.settings
        steering = self._steering()
        stop = self._stops
        return Passing(
            self._engine,
            self.memory,
            self._claims,
            self._threads,
            settings.parallel,
            steering,
            _unwatched,
            stop,
            self._followed,
        )

    def _steering(self) -> Steering:
        """By the settings as they are now."""
        return Steering("", self.settings.self_heal, self.settings.window, self.settings.rollouts)

    def _stops(self) -> bool:
        return self._ending or self._stop()

    async def _pass(self, watching: Watching, name: str, due: dict[Key, str]) -> None:
        self.passes += 1
        begun = time.monotonic()
        self._tell("pass", {"set": name, "objects": {str(key): due[key] for key in sorted(due)}})
        try:
            passed = await self._worker.do(
                pass_over, self._passing(), self.wanted, name, frozenset(due), self._health.urged(due)
            )
        except (TrimtabError, OSError) as error:
            self._failed_to_look(due, error)
            return
        self._take_in(passed, due)
        self._tell("passed", {"set": name, "seconds": time.monotonic() - begun, **self._drifting.counted(passed)})
        watching.follow(passed.living)
        self._followed |= {each.key: init_word(each.process) for each in passed.living}
        self._health.follow(passed.living)
        if passed.outcomes:
            watching.look_again()
        if not passed.postponed:
            await self._write_down(passed)

    async def _write_down(self, passed: Passed) -> None:
        """Status, and restarts in a row. A store that cannot be written keeps nobody from being repaired."""
        containers = [key for key in passed.part.keys if key.kind is Kind.CONTAINER]
        probed = {key: self._health.status_of(key) for key in containers}
        counts = {
            key.name: self.memory.restarts[key.name].count for key in containers if key.name in self.memory.restarts
        }
        try:
            await self._worker.do(self._standings.take_in, passed, self.wanted, probed, counts)
        except TrimtabError as error:
            self._tell("store.failed", {"error": str(error)})

    def _health_changed(self, key: Key, how: str) -> None:
        """Its Services take it in or leave it out; who waits for it may begin."""
        users = self.wanted.users.get(key, ())
        services = [user for user in users if user.kind is Kind.SERVICE]
        waiting = [other for service in services for other in self.wanted.users.get(service, ())]
        for user in (*users, *waiting):
            self.memory.failures.pop(user, None)
        self.mark([key, *users, *waiting], how)

    def _killed_for_memory(self, key: Key, count: int) -> None:
        self._tell("memory.out", {"object": str(key), "killed": count})
        task = asyncio.create_task(self._record(out_of_memory(key, count, time.time())))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _record(self, event: Event) -> None:
        try:
            await self._worker.do(record_events, self._engine.database, [event])
        except TrimtabError as error:
            self._tell("store.failed", {"error": str(error)})

    def _failed_to_look(self, keys: Iterable[Key], error: Exception) -> None:
        self._tell("pass.failed", {"error": str(error)})
        self._dirty.mark(keys, "could not be looked at", time.monotonic() + 1.0)

    def _take_in(self, passed: Passed, why: Mapping[Key, str]) -> None:
        """What the pass says about later."""
        now = time.monotonic()
        if passed.postponed:
            self._stale = True
            for key, reason in why.items():
                self._dirty.mark([key], reason, now + POSTPONED_SECONDS)
            return
        self._blocked |= passed.busy
        for action in passed.part.plan.actions:
            if action.verb is Verb.UNCHANGED:
                # somebody else mended it
                self.memory.failures.pop(action.key, None)
        for outcome in passed.outcomes:
            self._tell("action", told(outcome))
            if outcome.ok:
                self._succeeded(outcome.action, passed)
            elif outcome.result is Result.FAILED and outcome.error is not None:
                self._failed(outcome.action.key, outcome.error, now)
        for key, decision in passed.decisions.items():
            if decision is not None and decision.at is not None and not decision.is_due(time.time()):
                self._dirty.mark([key], decision.reason, now + max(0.0, decision.at - time.time()))
        self._take_in_rollouts(passed, now)
        for key in passed.held:
            failure = self.memory.failures.get(key)
            if failure is not None and failure.at is not None:
                self._dirty.mark([key], f"failed: {failure.message}", failure.at)

    def _take_in_rollouts(self, passed: Passed, now: float) -> None:
        """When to look at them again; and to read anew what is wanted where another manifest stands in now."""
        rolled = passed.rolled
        if rolled is None:
            return
        self._stale = self._stale or bool(rolled.renew)
        self._dirty.mark((*rolled.renew, *rolled.astray), "its rollout goes on")
        for service, state in rolled.states.items():
            if state.under_way:
                acted = any(outcome.action.key.kind is Kind.CONTAINER for outcome in passed.outcomes)
                at = now if acted else now + max(0.0, rolled.looks.get(service, time.time() + 1.0) - time.time())
                self._dirty.mark([service], "its rollout goes on", min(at, now + ROLLOUT_SECONDS))

    def _succeeded(self, action: Action, passed: Passed) -> None:
        key = action.key
        self.memory.failures.pop(key, None)
        if any(change.path == ("health",) for change in action.changes) and action.verb is not Verb.DELETE:
            self._health.acted_on(key)
        decision = passed.decisions.get(key)
        if decision is not None and decision.at is not None:
            self.memory.restarts[key.name] = decision.restarts
        if action.verb is Verb.DELETE:
            return
        acted_on = passed.part.keys - passed.busy
        users = [user for user in self.wanted.users.get(key, ()) if user not in acted_on]
        for user in users:
            self.memory.failures.pop(user, None)
        if users:
            self.mark(users, f"{key} was {action.verb}d")

    def _failed(self, key: Key, error: Exception, now: float) -> None:
        failure = after_failure(self.memory.failures.get(key), error, now, random.random())
        self.memory.failures[key] = failure
        if failure.at is not None:
            self._dirty.mark([key], f"failed: {failure.message}", failure.at)


def _unwatched(action: Action, outcome: Outcome | None) -> None:
    """Actions are told after their pass."""


def told(outcome: Outcome) -> dict[str, object]:
    """What came of an action, for the log."""
    return {
        "object": str(outcome.action.key),
        "action": outcome.action.describe(),
        "verb": outcome.action.verb.value,
        "result": outcome.result.value,
        "milliseconds": round(outcome.seconds * 1000, 1),
        "error": str(outcome.error) if outcome.error else None,
        "final": outcome.error is not None and is_final(outcome.error),
    }
