"""Objects as rows: how each stands now, by the loop's word where it knows more, else by what can be seen.

`get`, `describe`, `wait` and the API's lists all say what is made here, so that none contradicts another.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.cli.columns import Row
from reconciler.cli.seen import Known, Seen, look, read_known
from reconciler.cli.seen_source import seen_source, source_standing
from reconciler.cli.standing import Standing, as_told, standing
from reconciler.engine import Engine
from reconciler.observe.health import health_of
from reconciler.sources.strayed import strays
from reconciler.status import Situation, Status, read_status, status_of
from reconciler.steering import Steering, steer
from reconciler.store.standing import Topic, read_standing
from schemas.names import Key, Kind

NOBODY_WATCHED = 0.0
"""Instead of the moment since when a condition holds."""
PATIENT = ("Failed", "Refused", "GivenUp", "Waiting", "Suspended")
"""Reasons that only the loop can know."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the store keeps beside manifests: the loop's last word on each object, and who is left alone."""

    statuses: Mapping[str, Any]
    steering: Mapping[str, Any]


def rows_of(engine: Engine, known: Known, keys: Collection[Key]) -> list[Row]:
    """In the order of `keys`. Replicas are looked at too where their Service is."""
    replicas = {key for service in keys if service.kind is Kind.SERVICE for key in known.replicas(service)}
    seen = {item.key: item for item in look(engine, known, [*keys, *(replicas - set(keys))])}
    told = Told(read_standing(engine.database, Topic.STATUS), read_standing(engine.database, Topic.STEERING))
    now = time.time()
    standings: dict[str, Standing] = {
        item.key.name: _both(engine, known, item, told, {}, now)[0]
        for item in seen.values()
        if item.key.kind is Kind.CONTAINER
    }
    astray = strays_of(engine, seen.values())
    rows = (
        (seen[key], _both(engine, known, seen[key], told, standings, now, astray.get(key, "")), astray.get(key, ""))
        for key in keys
    )
    return [Row(item, stands, status, standings, now, stray) for item, (stands, status), stray in rows]


def strays_of(engine: Engine, seen: Iterable[Seen]) -> dict[Key, str]:
    """Of these objects, those that somebody else than the source of their set has changed, and how. A replica is
    changed with its Service."""
    found = list(seen)
    by_set = {name: strays(engine.database, name) for name in {each.set for each in found if each.set}}
    owners = {each.key: each.record.owner if each.record is not None else None for each in found}
    told = {each.key: _stray(by_set.get(each.set, {}), each.key, owners[each.key]) for each in found}
    return {key: text for key, text in told.items() if text}


def _stray(changed: Mapping[Key, str], key: Key, owner: Key | None) -> str:
    return changed.get(key) or (changed.get(owner, "") if owner is not None else "")


def statuses(engine: Engine, keys: Iterable[Key] = (), of_set: str | None = None) -> dict[Key, Status]:
    """Of those that were ever asked for; a whole set's with `of_set`."""
    known = read_known(engine)
    chosen = [key for key in known.keys if known.records.get(key) is not None or key in known.inventory]
    if of_set is not None:
        chosen = [key for key in chosen if _set_of(known, key) == of_set]
    else:
        wanted = set(keys)
        chosen = [key for key in chosen if key in wanted]
    return {row.seen.key: row.status for row in rows_of(engine, known, chosen)}


def _set_of(known: Known, key: Key) -> str:
    entry, record = known.inventory.get(key), known.records.get(key)
    return entry.set if entry is not None else record.set if record is not None else ""


def _both(
    engine: Engine,
    known: Known,
    seen: Seen,
    told: Told,
    replicas: Mapping[str, Standing],
    now: float,
    stray: str = "",
) -> tuple[Standing, Status]:
    """For people and for programs. The loop's word counts for what cannot be seen, while nothing contradicts it."""
    if seen.key.kind is Kind.SOURCE:
        return source_standing(engine, seen), seen_source(engine, seen)
    found = standing(seen, replicas, now)
    text = told.statuses.get(str(seen.key))
    before = read_status(text) if text is not None else None
    suspended = _suspended(known, seen, told)
    if before is not None and _is_patient(before) and not suspended:
        before = replace(before, generation=_generation(known, seen))
        return as_told(found, before), before
    situation = replace(_situation(engine, known, seen, before), suspended=bool(suspended), stray=stray)
    if suspended:
        situation = replace(situation, held=suspended)
    status = status_of(situation, now if before is not None else NOBODY_WATCHED, before)
    if suspended:
        return as_told(found, status), status
    return found, replace(status, health=found.health)


def _is_patient(before: Status) -> bool:
    ready = before.condition("Ready")
    return ready.status == "False" and ready.reason in PATIENT and ready.reason != "Suspended"


def _suspended(known: Known, seen: Seen, told: Told) -> str:
    """Why nothing is done about it, in words; a replica is suspended with its Service."""
    owner = seen.record.owner if seen.record is not None else None
    entry = known.inventory.get(owner or seen.key)
    annotations = entry.manifest["metadata"].get("annotations", {}) if entry is not None else {}
    of_object = told.steering.get(str(seen.key)) or told.steering.get(str(owner))
    return steer(annotations, of_object, told.steering.get(f"set/{seen.set}"), Steering()).suspended


def _generation(known: Known, seen: Seen) -> int:
    owner = seen.record.owner if seen.record is not None else None
    entry = known.inventory.get(owner or seen.key)
    return entry.generation if entry is not None else 1


def _situation(engine: Engine, known: Known, seen: Seen, before: Status | None) -> Situation:
    is_container = seen.key.kind is Kind.CONTAINER
    probed = health_of(engine, seen.key.name) if is_container else None
    generation = _generation(known, seen)
    rollout = seen.rollout
    return Situation(
        generation=generation,
        observed_generation=generation if seen.record is not None else 0,
        exists=seen.observed is not None,
        differences=tuple(change.describe() for change in seen.differences),
        process=seen.facts.get("process"),
        wanted_process=str(seen.spec.get("state", "running")) if is_container else None,
        probed=probed.value if probed is not None else "",
        held=_held(before),
        rolling=rollout.told if rollout is not None and rollout.under_way else "",
        halted=rollout.stalled if rollout is not None else "",
    )


def _held(before: Status | None) -> str:
    """Why the loop does nothing about what differs, where it said so."""
    told = before.condition("Reconciling") if before is not None else None
    return told.message if told is not None and told.reason == "Held" else ""
