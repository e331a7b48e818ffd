"""How images stand that follow a repository, for `status`: what runs, what there is, and why it does not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.images.follow import Followed, known_for, read_followed
from reconciler.loop.wanted import Wanted
from reconciler.store.database import Database
from reconciler.store.standing import Topic, read_standing
from schemas.image import ImageSpec


def told_of_followers(database: Database, wanted: Wanted) -> list[dict[str, Any]]:
    """By name."""
    states: Mapping[str, Any] = read_standing(database, Topic.FOLLOWED)
    found = []
    for key, want in sorted(wanted.desired.items()):
        spec = want.declared.spec if want.declared is not None else None
        if not isinstance(spec, ImageSpec) or spec.follow is None or spec.ref is None:
            continue
        value = states.get(key.name)
        state = known_for(read_followed(value) if value is not None else Followed(), spec.ref, spec.follow)
        found.append({"name": key.name, "policy": spec.follow.semver or spec.follow.policy, **_told(state)})
    return found


def _told(state: Followed) -> dict[str, Any]:
    return {
        "state": _state(state),
        "current": state.selected,
        "available": state.available,
        "message": state.failure or state.held or state.write_failure,
        "checked_at": state.checked_at,
        "rolled_back": dict(state.bad),
    }


def _state(state: Followed) -> str:
    if state.on_probation:
        return "RollingOut"
    if state.failure or state.write_failure:
        return "Failed"
    if state.held:
        return "RolledBack" if state.available in state.bad else "Waiting"
    return "Current" if state.selected else "Unknown"
