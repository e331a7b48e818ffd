"""Between two passes of an apply that carries a rollout through: watch the replicas until another pass has work.

Health checks are made here where no daemon makes them. What is seen is written under the engine's lock, so that a
daemon beside, or the next apply, goes on from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from reconciler.desired import Desired
from reconciler.engine import Engine
from reconciler.health import Health, HealthStatus, after, begin, pause
from reconciler.lock import engine_lock
from reconciler.observe.containers import init_word
from reconciler.perform.health import health_check
from reconciler.probes import probe, start_of
from reconciler.rollouts.looking import look, read_rollouts, write_rollouts
from reconciler.rollouts.pace import Replica, judged, turn
from reconciler.rollouts.state import Rollout
from reconciler.rollouts.turns import pace_of, replicas_of
from reconciler.store.health import Known, known_health, write_health
from runtime.process.client import read_process
from runtime.process.records import Phase
from schemas.errors import RetryLater
from schemas.names import Key

LOOK_SECONDS = 0.1
SOONEST_SECONDS = 1.0
"""Between two checks of a replica that is starting, at most: somebody waits for it."""

AGAIN_SECONDS = 1.0
"""Between two tries to make what could not be made."""

Desires = Mapping[Key, Desired]


class Watch:
    """Of the rollouts of one apply. `checks`: whether to make health checks."""

    def __init__(self, engine: Engine, desired: Desires, later: Collection[Key], *, checks: bool) -> None:
        self._engine = engine
        self._desired = desired
        self._later = frozenset(later)
        self._checks = checks
        self._due: dict[str, float] = {}
        self._made_at = time.monotonic()

    def until_work(self, states: Mapping[Key, Rollout], stop: Callable[[], bool]) -> None:
        """Until a pass has something to do for one of the Services under way, or one of them has ended."""
        mine = {service: state for service, state in states.items() if state.under_way}
        while not stop():
            time.sleep(LOOK_SECONDS)
            if self._checks:
                self._check(mine)
            with suppress(RetryLater), engine_lock(self._engine.layout.lock):
                if self._has_work(mine):
                    return

    def _has_work(self, mine: Mapping[Key, Rollout]) -> bool:
        known = read_rollouts(self._engine.database)
        work = [self._judge(service, state, known.get(service)) for service, state in mine.items()]
        return any(work)

    def _judge(self, service: Key, mine: Rollout, known: Rollout | None) -> bool:
        """Whether there is work; what was seen is written."""
        if known is None or not known.under_way or (known.asked, known.target) != (mine.asked, mine.target):
            return True
        pace = pace_of(self._desired[service], known)
        assert pace is not None
        keys = replicas_of(service, self._desired)
        looked = [look(self._engine, self._desired[key], changing=key in self._later) for key in keys]
        now = time.time()
        seen = judged(known, pace, looked, now)
        if not seen.under_way or seen.back is not known.back:
            return True
        if seen != known:
            write_rollouts(self._engine.database, {service: seen})
        return bool(turn(seen, pace, looked, now).names) or self._is_missed(seen, looked)

    def _is_missed(self, state: Rollout, looked: Collection[Replica]) -> bool:
        """Whether one that has not failed has no process: not yet, or not any more. Not too often."""
        missed = [
            each for each in looked if not (each.changing or each.alive or each.ready or each.name in state.failed)
        ]
        if not missed or time.monotonic() < self._made_at + AGAIN_SECONDS:
            return False
        self._made_at = time.monotonic()
        return True

    def _check(self, services: Collection[Key]) -> None:
        for service in services:
            for key in replicas_of(service, self._desired):
                if key not in self._later and time.monotonic() >= self._due.get(key.name, 0.0):
                    self._due[key.name] = time.monotonic() + self._check_one(self._desired[key])

    def _check_one(self, want: Desired) -> float:
        """Seconds until its next check."""
        engine, name = self._engine, want.key.name
        check, process = health_check(engine.layout, want), read_process(engine.layout, name)
        if check is None or process is None or process.phase is not Phase.RUNNING:
            return LOOK_SECONDS
        init, known = init_word(process), known_health(engine.database, name)
        started = start_of(process)
        same = known is not None and known.init == init
        before = Health(known.status, started, known.streak) if known is not None and same else begin(started)
        health = after(check, before, probe(engine.layout, process, check))
        acted = known.acted if known is not None else ()
        write_health(engine.database, {name: Known(init, health.status, health.streak, health.output, acted)})
        rest = pause(check, health, time.monotonic())
        return rest if health.status is not HealthStatus.STARTING else min(SOONEST_SECONDS, rest)
