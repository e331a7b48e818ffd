"""Rollouts in a pass over a few objects: of Services whose replicas the pass looks at together. Called by the loop.

The loop's passes run beside each other, and one that acts makes processes come and go; so a Service is judged by who
has claimed it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from reconciler.desired import Desired
from reconciler.engine import Engine
from reconciler.intent import Intent
from reconciler.partial import Part
from reconciler.rollouts.passing import Rolled, roll_one, services_that_roll
from reconciler.rollouts.state import Rollout
from reconciler.rollouts.turns import held_back, replacing, rolls
from reconciler.store.records import read_records_owned
from schemas.names import Key, Kind


def services_of(keys: Iterable[Key], desired: Mapping[Key, Desired], states: Mapping[Key, Rollout]) -> frozenset[Key]:
    """Those among the keys that say how their replicas are to be replaced, and those of replicas that are watched."""
    found = set()
    for key in keys:
        want = desired.get(key)
        owner = want.owner if want is not None else None
        if key.kind is Kind.SERVICE and rolls(want):
            found.add(key)
        elif owner is not None and rolls(desired.get(owner)) and states.get(owner, Rollout()).under_way:
            found.add(owner)
    return frozenset(found)


def surplus_of(engine: Engine, intent: Intent, services: Collection[Key]) -> dict[Key, str]:
    """Replicas that ran beside the others while these were replaced, and why they go."""
    return {
        record.key: f"{record.owner} has fewer replicas"
        for service in services
        for record in read_records_owned(engine.database, service)
        if record.key not in intent.desired
    }


def roll_part(
    engine: Engine, part: Part, services: Collection[Key], states: Mapping[Key, Rollout], now: float
) -> tuple[Part, Rolled]:
    """A part of a plan as `roll` does it, of these Services. Replicas of others are left out: they are not looked at
    together."""
    own = {key: part.intent.desired[key] for key in part.keys}
    rolled = Rolled(part.plan)
    for service in services_that_roll(own):
        if service in services:
            rolled = roll_one(engine, rolled, service, own, part.observed, states.get(service, Rollout()), now)
    late = {key for key in replacing(rolled.plan.effective) if _is_elsewhere(own[key], services, part.intent.desired)}
    if late:
        rolled = replace(rolled, plan=held_back(rolled.plan, late), astray=frozenset(owners_of(late, own)))
    return replace(part, plan=rolled.plan), rolled


def _is_elsewhere(want: Desired, services: Collection[Key], desired: Mapping[Key, Desired]) -> bool:
    return want.owner is not None and want.owner not in services and rolls(desired.get(want.owner))


def owners_of(keys: Iterable[Key], desired: Mapping[Key, Desired]) -> set[Key]:
    """The Services whose replicas these are."""
    return {owner for key in keys if key in desired and (owner := desired[key].owner) is not None}
