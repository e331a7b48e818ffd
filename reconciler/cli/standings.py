"""The status of objects as they stand now: the loop's word where it knows more, else what can be seen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.cli.seen import Known, Seen, look, read_known
from reconciler.cli.seen_source import seen_source
from reconciler.engine import Engine
from reconciler.observe.health import health_of
from reconciler.sources.strayed import strays
from reconciler.status import Situation, Status, read_status, status_of
from reconciler.store.standing import Topic, read_standing
from schemas.names import Key, Kind

NOBODY_WATCHED = 0.0
"""Instead of the moment since when a condition holds."""
PATIENT = ("Failed", "Refused", "GivenUp", "Waiting", "Suspended")
"""Reasons that only the loop can know."""


def statuses(engine: Engine, keys: Iterable[Key] = (), of_set: str | None = None) -> dict[Key, Status]:
    """Of those that were ever asked for; a whole set's with `of_set`."""
    known = read_known(engine)
    chosen = [key for key in known.keys if known.records.get(key) is not None or key in known.inventory]
    if of_set is not None:
        chosen = [key for key in chosen if _set_of(known, key) == of_set]
    else:
        wanted = set(keys)
        chosen = [key for key in chosen if key in wanted]
    told = read_standing(engine.database, Topic.STATUS)
    seen = look(engine, known, chosen)
    astray = strays_of(engine, seen)
    return {each.key: status_seen(engine, each, told.get(str(each.key)), astray.get(each.key, "")) for each in seen}


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


def _set_of(known: Known, key: Key) -> str:
    entry, record = known.inventory.get(key), known.records.get(key)
    return entry.set if entry is not None else record.set if record is not None else ""


def status_seen(engine: Engine, seen: Seen, told: Mapping[str, Any] | None, stray: str = "") -> Status:
    """`told`: what the loop wrote last. It counts for what cannot be seen, as long as nothing contradicts it.
    `stray`: as of `strays_of`."""
    if seen.key.kind is Kind.SOURCE:
        return seen_source(engine, seen)
    before = read_status(told) if told is not None else None
    ready = before.condition("Ready") if before is not None else None
    if before is not None and ready is not None and ready.status == "False" and ready.reason in PATIENT:
        return before
    found = _situation(engine, seen, _held(before), stray)
    return status_of(found, time.time() if before is not None else NOBODY_WATCHED, before)


def _held(before: Status | None) -> str:
    """Why the loop does nothing about what differs, where it said so."""
    told = before.condition("Reconciling") if before is not None else None
    return told.message if told is not None and told.reason == "Held" else ""


def _situation(engine: Engine, seen: Seen, held: str, stray: str) -> Situation:
    is_container = seen.key.kind is Kind.CONTAINER
    probed = health_of(engine, seen.key.name) if is_container else None
    generation = seen.entry.generation if seen.entry is not None else 1
    rollout = seen.rollout
    return Situation(
        generation=generation,
        observed_generation=generation if seen.record is not None else 0,
        exists=seen.observed is not None,
        differences=tuple(change.describe() for change in seen.differences),
        process=seen.facts.get("process"),
        wanted_process=str(seen.spec.get("state", "running")) if is_container else None,
        probed=probed.value if probed is not None else "",
        stray=stray,
        held=held,
        rolling=rollout.told if rollout is not None and rollout.under_way else "",
        halted=rollout.stalled if rollout is not None else "",
    )
