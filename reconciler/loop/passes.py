"""One pass, in a worker's thread: observe and plan what is dirty, act under the engine's lock, say what came of it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.actions import Action, Plan, Verb
from reconciler.apply import Outcome, Stop, Watch, never
from reconciler.engine import Engine
from reconciler.health import Check
from reconciler.intent import Intent
from reconciler.loop.claims import Claims
from reconciler.loop.holding import Holding
from reconciler.loop.memory import Memory
from reconciler.loop.wanted import Wanted, data_version
from reconciler.loop.watch_firewall import OwnThreads
from reconciler.loop.watch_links import numbers_of
from reconciler.partial import Part, carry_out_part, prepare_part, without
from reconciler.perform.health import health_check
from reconciler.plan import NOTHING, Urged
from reconciler.restart import Decision
from reconciler.rollouts.looking import read_rollouts, write_rollouts
from reconciler.rollouts.parts import roll_part, services_of, surplus_of
from reconciler.rollouts.passing import Rolled, after_actions, urged_by_rollouts
from reconciler.rollouts.state import Rollout
from reconciler.rollouts.turns import rolls
from reconciler.steering import Steering, holds_back, steer
from reconciler.store.health import Known, known_health
from reconciler.store.inventory import asked_version
from reconciler.store.leases import record_leases
from runtime.process.client import read_process
from runtime.process.records import Phase, ProcessRecord
from schemas.errors import RetryLater
from schemas.names import Key, Kind


@dataclass(frozen=True, slots=True)
class Living:
    """A container's process as it is after the pass, the number of its network namespace, its health check, and the
    health that is known."""

    key: Key
    process: ProcessRecord
    number: int | None
    check: Check | None = None
    health: Known | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of one set's pass. `held`: actions on these were left out, and why. `postponed`: somebody else acts or
    has asked for something else, so nothing was done."""

    part: Part
    outcomes: list[Outcome] = field(default_factory=list)
    decisions: Mapping[Key, Decision | None] = field(default_factory=dict)
    held: Mapping[Key, str] = field(default_factory=dict)
    postponed: bool = False
    busy: frozenset[Key] = frozenset()
    """Somebody else acts on these, or on what they stand on."""
    living: list[Living] = field(default_factory=list)
    rolled: Rolled | None = None
    """What is known of rollouts that were looked at."""


@dataclass(frozen=True, slots=True)
class Passing:
    """What every pass needs."""

    engine: Engine
    memory: Memory
    claims: Claims
    threads: OwnThreads
    parallel: int
    steering: Steering
    watch: Watch
    stop: Stop = never
    followed: Mapping[Key, str] = field(default_factory=dict)
    """Containers whose process is known already, and which one it is: there is nothing new to be told of them."""


def pass_over(passing: Passing, wanted: Wanted, set_name: str, keys: Collection[Key], urged: Urged = NOTHING) -> Passed:
    """Bring the keys of one set in line. Raises what the observation raises."""
    passed = _act(passing, wanted, wanted.intents[set_name], keys, urged)
    touched = {outcome.action.key for outcome in passed.outcomes}
    strange = {key for key in keys if _is_strange(passing, wanted, passed.part, key)}
    return replace(passed, living=_living(passing.engine, wanted.intents[set_name], touched | strange))


def _act(passing: Passing, wanted: Wanted, intent: Intent, keys: Collection[Key], urged: Urged) -> Passed:
    states = read_rollouts(passing.engine.database) if any(_may_roll(intent, key) for key in keys) else {}
    services = services_of(keys, intent.desired, states)
    if not services:
        return _act_on(passing, wanted, intent, keys, urged, frozenset(), states)
    try:
        # while another acts on it, processes of its replicas come and go
        with passing.claims.claim(services, intent.desired) as taken:
            if _is_stale(passing, wanted):
                return Passed(_nothing(intent), postponed=True)
            mine = services - taken
            states = read_rollouts(passing.engine.database)
            if any(_is_otherwise(intent, key, states) for key in mine):
                return Passed(_nothing(intent), postponed=True)
            passed = _act_on(passing, wanted, intent, {*keys, *mine}, urged, mine, states)
            return replace(passed, busy=passed.busy | taken)
    except RetryLater:
        return Passed(_nothing(intent), postponed=True)


def _may_roll(intent: Intent, key: Key) -> bool:
    want = intent.desired.get(key)
    return want is not None and (rolls(want) or (want.owner is not None and rolls(intent.desired.get(want.owner))))


def _is_otherwise(intent: Intent, service: Key, states: Mapping[Key, Rollout]) -> bool:
    """Whether the Service was resolved for another state of its rollout: our own writes make nothing stale."""
    state = states.get(service, Rollout())
    return intent.rollouts.get(service, (False, 0)) != (state.back, state.surge)


def _nothing(intent: Intent) -> Part:
    return Part(intent, frozenset(), {}, Plan(()))


def _is_stale(passing: Passing, wanted: Wanted) -> bool:
    """Whether something else was asked for since it was read what is."""
    engine = passing.engine
    return data_version(engine) != wanted.version or asked_version(engine.database) != wanted.asked


def _act_on(
    passing: Passing,
    wanted: Wanted,
    intent: Intent,
    keys: Iterable[Key],
    urged: Urged,
    services: frozenset[Key],
    states: Mapping[Key, Rollout],
) -> Passed:
    """`services`: those that this pass has claimed, and whose replicas it may replace in their turns."""
    engine = passing.engine
    holding = Holding(engine, intent.desired, passing.memory, time.time())
    mine = {key: states[key] for key in services if key in states}
    surplus = surplus_of(engine, intent, services)
    part = prepare_part(engine, intent, keys, holding, {**urged, **urged_by_rollouts(engine, mine)}, surplus)
    part, rolled = roll_part(engine, part, services, states, time.time())
    changed = {key: state for key, state in rolled.states.items() if state != states.get(key)}
    write_rollouts(engine.database, changed, time.time())
    held = _held(passing, wanted, intent, part.plan.effective)
    kept = replace(part, plan=without(part.plan, held.keys())) if held else part
    passed = Passed(part, [], holding.decisions, held, rolled=rolled)
    if kept.plan.empty:
        return passed
    try:
        actions = {action.key for action in kept.plan.effective} - services
        with passing.claims.claim(actions, intent.desired, within=services) as busy:
            if _is_stale(passing, wanted):
                return replace(passed, postponed=True)
            if wanted.leases is not None:
                record_leases(engine.database, wanted.leases)
            outcomes = _carry_out(passing, kept, busy)
            with suppress(RetryLater):  # what is done is done, whether it can be noted or not
                write_rollouts(engine.database, after_actions(rolled.states, outcomes))
            return replace(passed, outcomes=outcomes, busy=busy)
    except RetryLater:
        return replace(passed, postponed=True)


def _carry_out(passing: Passing, part: Part, busy: frozenset[Key]) -> list[Outcome]:
    free = replace(part, plan=without(part.plan, busy)) if busy else part
    outcomes = carry_out_part(passing.engine, free, passing.watch, passing.parallel, passing.stop, passing.threads.note)
    return [each for each in outcomes if each.action.verb is not Verb.UNCHANGED]


def _is_strange(passing: Passing, wanted: Wanted, part: Part, key: Key) -> bool:
    """Whether its process is another one than the one that is followed, or its manifest may have changed."""
    have = part.observed.get(key)
    known = passing.followed.get(key)
    return have is None or known is None or known != have.facts.get("init") or key in wanted.fresh


def _held(passing: Passing, wanted: Wanted, intent: Intent, actions: Iterable[Action]) -> dict[Key, str]:
    """Objects that failed and are not to be tried again yet, and those that nobody may act on now; why."""
    moment, now = time.monotonic(), datetime.now()
    held: dict[Key, str] = {}
    for action in actions:
        failure = passing.memory.failures.get(action.key)
        if failure is not None and passing.memory.is_waiting(action.key, moment):
            held[action.key] = f"failed: {failure.message}"
        elif why := holds_back(_steering(passing, wanted, intent, action.key), action, now):
            held[action.key] = why
    return held


def _steering(passing: Passing, wanted: Wanted, intent: Intent, key: Key) -> Steering:
    """A replica is steered with its Service."""
    want = intent.desired.get(key)
    declared = want.declared if want is not None else None
    annotations = declared.metadata.annotations if declared is not None else {}
    owner = declared.key if declared is not None else key
    of_object = wanted.steering.get(str(key)) or wanted.steering.get(str(owner))
    return steer(annotations, of_object, wanted.steering.get(f"set/{intent.set}"), passing.steering)


def _living(engine: Engine, intent: Intent, keys: Iterable[Key]) -> list[Living]:
    """Of the containers among the keys, those that have a process."""
    found = {
        key: process
        for key in keys
        if key.kind is Kind.CONTAINER
        if (process := read_process(engine.layout, key.name)) is not None and process.phase is not Phase.EXITED
    }
    numbers = numbers_of((key, process.pid) for key, process in found.items())
    return [_alive(engine, intent, key, found[key], number) for key, number in numbers]


def _alive(engine: Engine, intent: Intent, key: Key, process: ProcessRecord, number: int | None) -> Living:
    want = intent.desired.get(key)
    check = health_check(engine.layout, want) if want is not None and process.phase is not Phase.CREATED else None
    return Living(key, process, number, check, known_health(engine.database, key.name) if check is not None else None)
