"""The health of a container that another waits for.

With a loop beside it, what the loop found last. An apply without one makes the checks itself meanwhile.
"""

from __future__ import annotations

import time

from reconciler.apply import Stopped
from reconciler.health import Check, Health, HealthStatus, after, begin, pause
from reconciler.observe.containers import init_word
from reconciler.observe.health import health_of
from reconciler.perform.context import Context
from reconciler.perform.health import health_check
from reconciler.probes import probe, start_of
from reconciler.store.health import Known, write_health
from runtime.process.client import read_process
from runtime.process.records import Phase, ProcessRecord
from schemas.names import Key, Kind

LOOK_SECONDS = 0.1
SOONEST_SECONDS = 1.0
"""Between two checks while somebody waits, at most: an interval of half a minute is for containers that nobody waits
for."""
LONGEST_SECONDS = 600.0


def await_health(context: Context, name: str) -> HealthStatus | None:
    """Healthy or unhealthy, once that is known; starting, where nobody waits; None for a container without a check."""
    want = context.desired.get(Key(Kind.CONTAINER, name))
    known = health_of(context.engine, name)
    if not context.patient or want is None:
        has_check = want is None or health_check(context.engine.layout, want) is not None
        return (known or HealthStatus.STARTING) if has_check else None
    check = health_check(context.engine.layout, want)
    if check is None or known is HealthStatus.HEALTHY:
        return known
    process = read_process(context.engine.layout, name)
    if process is None or process.phase is not Phase.RUNNING:
        return HealthStatus.STARTING
    return _check_until_known(context, process, check)


def _check_until_known(context: Context, process: ProcessRecord, check: Check) -> HealthStatus:
    health = begin(start_of(process))
    deadline = time.monotonic() + LONGEST_SECONDS
    while health.status is HealthStatus.STARTING and time.monotonic() < deadline:
        health = after(check, health, probe(context.engine.layout, process, check))
        if health.status is HealthStatus.STARTING:
            _rest(context, min(SOONEST_SECONDS, pause(check, health, time.monotonic())))
            if read_process(context.engine.layout, process.name) is None:
                break
    _record(context, process, health)
    return health.status


def _rest(context: Context, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if context.stop():
            raise Stopped
        time.sleep(min(left, LOOK_SECONDS))


def _record(context: Context, process: ProcessRecord, health: Health) -> None:
    known = Known(init_word(process), health.status, health.streak, health.output)
    write_health(context.engine.database, {process.name: known})
