"""How a Service's replicas stand, read from their processes and their health; and what is kept of rollouts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reconciler.desired import Desired
from reconciler.engine import Engine
from reconciler.health import HealthStatus
from reconciler.kinds.container import COMPLETED, starts_again
from reconciler.observe.containers import exit_word, init_word
from reconciler.observe.health import health_of
from reconciler.perform.health import health_check
from reconciler.rollouts.pace import Replica
from reconciler.rollouts.state import Rollout, read_rollout
from reconciler.status import ROLLED_BACK, ROLLOUT_PAUSED
from reconciler.store.database import Database
from reconciler.store.events import Event, record_events
from reconciler.store.health import known_health
from reconciler.store.standing import Topic, read_one, read_standing, write_standing
from runtime.process.client import read_process
from runtime.process.records import Phase, ProcessRecord
from schemas.names import Key


def read_rollouts(database: Database) -> dict[Key, Rollout]:
    """By Service."""
    return {Key.parse(name): read_rollout(value) for name, value in read_standing(database, Topic.ROLLOUT).items()}


def read_rollout_of(database: Database, service: Key) -> Rollout | None:
    """None for one that has none."""
    value = read_one(database, Topic.ROLLOUT, str(service))
    return read_rollout(value) if value is not None else None


def write_rollouts(database: Database, states: Mapping[Key, Rollout | None], now: float | None = None) -> None:
    """None forgets it. What has come to its end `now` is told as an event; nothing of it for None."""
    kept = {str(key): state.fields() if state is not None else None for key, state in states.items()}
    told: list[Event] = []
    if now is not None and states:
        told = events_of(read_rollouts(database), {key: state for key, state in states.items() if state}, now)
    write_standing(database, Topic.ROLLOUT, kept)
    record_events(database, told)


def events_of(before: Mapping[Key, Rollout], after: Mapping[Key, Rollout], now: float) -> list[Event]:
    """What has become of rollouts, for who asks later."""
    found = []
    for service, state in after.items():
        known = before.get(service, Rollout())
        if state.stalled and state.stalled != known.stalled:
            reason = ROLLED_BACK if state.back else ROLLOUT_PAUSED
            found.append(Event(now, str(service), "Warning", reason, state.stalled))
        elif known.under_way and not state.under_way and not state.stalled:
            found.append(Event(now, str(service), "Normal", "RolledOut", state.told))
    return found


def started_at(engine: Engine, names: Collection[str]) -> dict[str, float]:
    """When their processes were started, of those that have one, in seconds since the epoch."""
    found = {name: read_process(engine.layout, name) for name in names}
    return {name: process.started_at or 0.0 for name, process in found.items() if process is not None}


def look(engine: Engine, want: Desired, *, changing: bool) -> Replica:
    """One replica as it is now."""
    name = want.key.name
    process = read_process(engine.layout, name)
    if process is None:
        return Replica(name, changing, alive=False)
    amiss = _amiss(engine, want, process)
    ready = not amiss and _is_ready(engine, want, process, changing=changing)
    alive = process.phase is not Phase.EXITED
    return Replica(name, changing, init_word(process), ready, amiss, process.started_at or 0.0, alive)


def _amiss(engine: Engine, want: Desired, process: ProcessRecord) -> str:
    if process.phase is Phase.EXITED and process.exit is not None and want.facts["process"] != "stopped":
        word = exit_word(process.exit)
        return "" if word == COMPLETED and not starts_again(want) else word
    if health_of(engine, want.key.name) is HealthStatus.UNHEALTHY:
        known = known_health(engine.database, want.key.name)
        said = known.output.strip().partition("\n")[0] if known is not None else ""
        return f"is unhealthy: {said}" if said else "is unhealthy"
    return ""


def _is_ready(engine: Engine, want: Desired, process: ProcessRecord, *, changing: bool) -> bool:
    """As far as it has come. One that is still to be replaced is asked what it was asked before."""
    wanted = want.facts["process"]
    if process.phase is Phase.EXITED:
        return True
    if process.phase.value != wanted:
        return False
    if wanted != "running" or changing or health_check(engine.layout, want) is None:
        return True
    return health_of(engine, want.key.name) is HealthStatus.HEALTHY
