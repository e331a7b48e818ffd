"""What a pass asks of rollouts: the plan with those replicas alone whose turn it is, and what is known after the look.

Called by `apply`, `diff` and the loop alike. Changes nothing: what is known is written by whoever acts, before acting.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.actions import Action, Change, Note, Plan
from reconciler.apply import Outcome, reason_of
from reconciler.desired import Desired, Observed
from reconciler.engine import Engine
from reconciler.kinds.image import makes_another
from reconciler.rollouts.looking import look, started_at
from reconciler.rollouts.pace import Replica, Turn, judged, turn
from reconciler.rollouts.state import Progress, Rollout
from reconciler.rollouts.turns import (
    asked_replicas,
    cannot_wait,
    happens_once,
    held_back,
    note_on,
    owed,
    pace_of,
    replacing,
    replicas_of,
    rolls,
)
from runtime.images.store import read_image
from schemas.deploy import UpdateConfig
from schemas.errors import RetryLater
from schemas.names import Key, Kind

TURN = "waits for its turn"


@dataclass(frozen=True, slots=True)
class Rolled:
    """`states`: of the Services looked at, as they are known now. `looks`: when time alone changes something for one,
    in seconds since the epoch. `renew`: those that are to be planned with other manifests than this plan was.
    `later`: replicas whose turn comes, and why not now."""

    plan: Plan
    states: Mapping[Key, Rollout] = field(default_factory=dict)
    looks: Mapping[Key, float] = field(default_factory=dict)
    renew: frozenset[Key] = frozenset()
    later: Mapping[Key, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    """Those of the plan that tell how rollouts go on."""
    astray: frozenset[Key] = frozenset()
    """Services whose replicas are to be replaced and were not looked at together."""


def urged_by_rollouts(engine: Engine, states: Mapping[Key, Rollout]) -> dict[Key, tuple[Change, ...]]:
    """What replicas are still to be replaced for and no look finds any more."""
    found: dict[Key, tuple[Change, ...]] = {}
    for state in states.values():
        if state.owed:
            found |= owed(state, started_at(engine, state.owed.keys()))
    return found


def roll(
    engine: Engine,
    plan: Plan,
    desired: Mapping[Key, Desired],
    observed: Mapping[Key, Observed],
    states: Mapping[Key, Rollout],
    now: float,
) -> Rolled:
    """Of every Service in `desired` that says how its replicas are to be replaced."""
    made = Rolled(plan)
    for service in services_that_roll(desired):
        made = roll_one(engine, made, service, desired, observed, states.get(service, Rollout()), now)
    return made


def services_that_roll(desired: Mapping[Key, Desired]) -> list[Key]:
    """Those that say how their replicas are to be replaced."""
    return sorted(key for key, want in desired.items() if key.kind is Kind.SERVICE and rolls(want))


def roll_one(
    engine: Engine,
    made: Rolled,
    service: Key,
    desired: Mapping[Key, Desired],
    observed: Mapping[Key, Observed],
    before: Rollout,
    now: float,
) -> Rolled:
    """Of one Service, after others of the same plan."""
    replicas = replicas_of(service, desired)
    changing = {key: actions for key, actions in replacing(made.plan.effective).items() if key in replicas}
    taken = cannot_wait(made.plan.effective, replicas, desired)
    if taken is not None and changing:
        note = Note(service, f"has its replicas replaced all at once: {taken} beneath them is made anew")
        return replace(made, plan=replace(made.plan, notes=(*made.plan.notes, note)))
    looked = [look(engine, desired[key], changing=key in changing) for key in replicas]
    state = _aimed(before, target_of(engine, made.plan, service, desired), bool(changing))
    pace = pace_of(desired[service], state)
    assert pace is not None
    state = judged(state, pace, looked, now)
    if state.back is before.back:
        state = replace(state, surge=_surge(state, pace, changing, desired[service]))
    if (state.back, state.surge) != (before.back, before.surge):
        plan = held_back(made.plan, changing) if changing else made.plan
        return replace(made, plan=plan, states={**made.states, service: state}, renew=made.renew | {service})
    asked = looked[: asked_replicas(desired[service])]
    whose = turn(state, pace, looked, now)
    late = {Key(Kind.CONTAINER, name) for name in whose.later}
    state = replace(state, owed=_owed(state, late, changing, desired, observed, looked, now), told=_told(asked, state))
    return _joined(made, service, state, pace, whose, late, asked)


def _surge(state: Rollout, pace: UpdateConfig, changing: Collection[Key], want: Desired) -> int:
    """Replicas beside those that are asked for, as long as others are to be replaced or watched."""
    if not state.under_way or pace.order != "start-first":
        return 0
    count = asked_replicas(want)
    return min(pace.parallelism or count, count) if changing or state.surge else 0


def _joined(
    made: Rolled,
    service: Key,
    state: Rollout,
    pace: UpdateConfig,
    whose: Turn,
    late: Collection[Key],
    looked: Collection[Replica],
) -> Rolled:
    plan = held_back(made.plan, late) if late else made.plan
    note = note_on(service, state, pace, whose, len(looked))
    looks = {**made.looks, **({service: whose.at} if whose.at is not None else {})}
    why = state.stalled if not state.under_way else f"{TURN}: {state.told}"
    return replace(
        made,
        plan=replace(plan, notes=(*plan.notes, note)) if note is not None else plan,
        states={**made.states, service: state},
        looks=looks,
        later={**made.later, **dict.fromkeys(late, why)},
        notes=(*made.notes, *([note] if note is not None else [])),
    )


def _aimed(state: Rollout, target: str, changing: bool) -> Rollout:
    """Under way to the target, if it is another one or something is to be replaced again."""
    if state.target != target:
        state = replace(state, target=target)
        if changing or state.under_way:
            return state.afresh()
    if state.progress is Progress.DONE:
        return state.afresh() if changing else state.done()
    return state


def _told(looked: Collection[Replica], state: Rollout) -> str:
    done = sum(1 for each in looked if not each.changing)
    well = sum(1 for each in looked if each.name in state.settled)
    return f"{done} of {len(looked)} replaced, {well} of them well"


def _owed(
    state: Rollout,
    late: Collection[Key],
    changing: Mapping[Key, tuple[Action, ...]],
    desired: Mapping[Key, Desired],
    observed: Mapping[Key, Observed],
    looked: Iterable[Replica],
    now: float,
) -> dict[str, tuple[float, str, str]]:
    """What is left of it, and what is new."""
    kept = {each.name: state.owed[each.name] for each in looked if each.name in state.owed and each.changing}
    for key in late:
        once = happens_once(desired[key], observed.get(key), changing[key]) if key.name not in kept else None
        if once is not None:
            kept[key.name] = (now, *once)
    return kept


def target_of(engine: Engine, plan: Plan, service: Key, desired: Mapping[Key, Desired]) -> str:
    """A digest of what its replicas are to be: fields, images, contents."""
    replicas = replicas_of(service, desired)
    if not replicas:
        return ""
    want = desired[replicas[0]]
    told: list[object] = [{name: value for name, value in want.fields.items() if name != "metadata"}]
    for need in sorted(want.needs):
        if need.kind is Kind.IMAGE:
            record = read_image(engine.layout, need.name)
            coming = [a.reason for a in plan.effective if a.key == need and any(map(makes_another, a.changes))]
            told.append([str(need), record.digest if record is not None else "", coming])
        elif need.kind in (Kind.SECRET, Kind.CONFIG) and need in desired:
            told.append([str(need), desired[need].facts.get("content")])
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def after_actions(states: Mapping[Key, Rollout], outcomes: Iterable[Outcome]) -> dict[Key, Rollout]:
    """With replicas that could not be made, so that the next pass counts them. What may heal is tried again instead."""
    found = dict(states)
    for outcome in outcomes:
        if outcome.error is None or isinstance(outcome.error, RetryLater):
            continue
        for service, state in found.items():
            name = outcome.action.key.name
            if name.rpartition("-")[0] == service.name and state.under_way and is_replacement(outcome):
                why = reason_of(outcome.error, outcome.action.key).partition("\n")[0]
                found[service] = replace(state, failed={**state.failed, name: why})
    return {service: state for service, state in found.items() if state != states[service]}


def is_replacement(outcome: Outcome) -> bool:
    """Whether a replica was to become another one by it."""
    return outcome.action.key in replacing([outcome.action])
