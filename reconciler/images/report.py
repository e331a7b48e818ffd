"""How images stand that follow a repository, for `status`: what runs, what there is, and why it does not run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from reconciler.images.follow import Followed, known_for, read_followed
from reconciler.loop.wanted import Wanted
from reconciler.store.database import Database
from reconciler.store.standing import Topic, read_one, read_standing
from schemas.image import ImageSpec
from schemas.image_follow import FollowSpec
from schemas.windows import read_windows


def told_of_followers(database: Database, wanted: Wanted) -> list[dict[str, Any]]:
    """By name."""
    states: Mapping[str, Any] = read_standing(database, Topic.FOLLOWED)
    found = []
    for key, want in sorted(wanted.desired.items()):
        spec = want.declared.spec if want.declared is not None else None
        if isinstance(spec, ImageSpec) and (told := _of_spec(spec, states.get(key.name))):
            found.append({"name": key.name, **told})
    return found


def told_of_follower(database: Database, name: str, spec: ImageSpec) -> dict[str, Any]:
    """For `describe`; empty for an image that follows nothing."""
    return _of_spec(spec, read_one(database, Topic.FOLLOWED, name))


def _of_spec(spec: ImageSpec, value: Any) -> dict[str, Any]:
    if spec.follow is None or spec.ref is None:
        return {}
    state = known_for(read_followed(value) if value is not None else Followed(), spec.ref, spec.follow)
    return _told(state, spec.follow, datetime.now().astimezone())


def _told(state: Followed, spec: FollowSpec, local: datetime) -> dict[str, Any]:
    return {
        "policy": spec.semver or spec.policy,
        "state": _state(state),
        "current": state.selected,
        "available": state.available,
        "message": state.failure or state.held or state.write_failure,
        "checked_at": state.checked_at,
        "interval": spec.interval,
        "window": spec.window,
        "window_open": _is_open(spec.window, local),
        "rolled_back": dict(state.bad),
    }


def _is_open(window: str | None, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    return window is None or any(each.holds(local.weekday(), minute) for each in read_windows(window))


def _state(state: Followed) -> str:
    if state.on_probation:
        return "RollingOut"
    if state.failure or state.write_failure:
        return "Failed"
    if state.held:
        return "RolledBack" if state.available in state.bad else "Waiting"
    return "Current" if state.selected else "Unknown"
