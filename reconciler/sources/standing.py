"""How a source stands, in the same words as objects: conditions, sync, health; and all of it as one document. Pure.

Called by the API, and by `get`, `describe` and `wait`. Its own word (`SourceStatus`) is about revisions; how the
objects of its set stand comes from the loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from reconciler.sources.status import SourceStatus, State
from reconciler.status import Condition, Health, Status, Sync, together

WELL = (State.READY, State.SUSPENDED, State.PINNED)
UNDER_WAY = (State.STARTING, State.WAITING, State.APPLYING)
FAILED = (State.STALLED, State.DEGRADED, State.OUT_OF_SYNC, State.MISSING)
NOTHING = "Nothing"


def status_of_source(found: SourceStatus, members: Iterable[Status], generation: int = 1) -> Status:
    """`members`: how the objects of its set stand; `generation`: of the Source's manifest, 1 where it has none."""
    sync, health = together(members)
    seen = 0 if found.state is State.STARTING else generation
    conditions = (_ready(found), _reconciling(found), _stalled(found), _healthy(health))
    return Status(
        tuple(replace(each, since=found.at) for each in conditions),
        generation,
        seen,
        _sync(found, sync),
        _health(found, health),
    )


def _ready(found: SourceStatus) -> Condition:
    return Condition("Ready", "True" if found.state in WELL else "False", _reason(found), found.message)


def _reconciling(found: SourceStatus) -> Condition:
    if found.state in UNDER_WAY:
        return Condition("Reconciling", "True", _reason(found), found.message)
    if found.state is State.STALLED and found.temporary:
        return Condition("Reconciling", "True", "Retrying", found.message)
    return Condition("Reconciling", "False", NOTHING)


def _stalled(found: SourceStatus) -> Condition:
    if found.state is State.STALLED:
        return Condition("Stalled", "True", _reason(found), found.message)
    return Condition("Stalled", "False", NOTHING)


def _healthy(health: Health) -> Condition:
    word = {Health.HEALTHY: "True", Health.DEGRADED: "False", Health.MISSING: "False"}.get(health, "Unknown")
    return Condition("Healthy", word, "Members", f"the objects of its set: {health.value}")


def _reason(found: SourceStatus) -> str:
    return found.reason or found.state.value


def _sync(found: SourceStatus, members: Sync) -> Sync:
    match found.state:
        case State.READY | State.DEGRADED:
            return members
        case State.STARTING | State.WAITING:
            return Sync.UNKNOWN
        case State.STALLED if found.reason == "NotFetched":
            return Sync.UNKNOWN
        case State.SUSPENDED if found.revision == found.applied:
            return members
        case _:
            return Sync.OUT_OF_SYNC


def _health(found: SourceStatus, members: Health) -> Health:
    match found.state:
        case State.SUSPENDED:
            return Health.SUSPENDED
        case State.MISSING:
            return Health.MISSING
        case State.STALLED | State.DEGRADED:
            return Health.DEGRADED
        case _ if found.state in UNDER_WAY:
            return Health.PROGRESSING
        case _:
            return members


def document_of(found: SourceStatus, status: Status) -> dict[str, Any]:
    """All that is told of a source: `SourceDocument` of the API, an item of `status -o json`."""
    return {
        **asdict(found),
        "state": found.state.value,
        "problems": [str(each) for each in found.problems],
        "suspended": found.state is State.SUSPENDED,
        **status.fields(),
        "failure": _failure(found) if found.state in FAILED else None,
    }


def _failure(found: SourceStatus) -> dict[str, Any]:
    """Why it is not well, with the commit, and each problem with its file and line."""
    return {
        "reason": _reason(found),
        "message": found.message,
        "revision": found.revision,
        "commit": found.commit or None,
        "at": found.at,
        "problems": [asdict(each) | asdict(each.place) for each in found.problems],
    }


def noted(found: SourceStatus) -> dict[str, Any]:
    """For the store: its own word, without what changes by itself."""
    return asdict(replace(found, next_fetch=0.0, problems=())) | {"state": found.state.value, "problems": []}


def read_noted(value: Mapping[str, Any]) -> SourceStatus:
    """The inverse of `noted`."""
    known = {field.name for field in fields(SourceStatus)}
    kept = {name: each for name, each in value.items() if name in known}
    return SourceStatus(**{**kept, "state": State(value["state"]), "problems": ()})
