"""Who may repair what, and when: suspended objects, `self_heal`, `rollouts`, maintenance windows. Pure.

An object that is suspended is looked at and told of, never acted on. `self_heal` is about drift alone; what a restart
policy or a health check decides is no drift. `rollouts` is about what comes newly by itself, a source's next revision
or a newer image; what somebody applies by hand is always done. Of several voices the nearest counts: the object's
annotations, then its set's, then the engine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.actions import Action, Verb
from reconciler.kinds.container import is_image_change
from schemas.errors import Refused
from schemas.windows import opens_at, read_windows

RECONCILE, SELF_HEAL, WINDOW = "trimtab/reconcile", "trimtab/self-heal", "trimtab/window"
"""Annotations: `disabled`; `on`, `off`, `window`; `Mon-Fri 02:00-04:30`."""
MODES = ("on", "off", "window")
ROLLOUTS = ("on", "window")
DECIDED = ("process", "health")
"""What the loop decides by policy."""


@dataclass(frozen=True, slots=True)
class Steering:
    """`suspended`: why nothing is done, in words; empty while something is."""

    suspended: str = ""
    self_heal: str = "on"
    window: str = ""
    rollouts: str = "on"


def steer(annotations: Mapping[str, str], of_object: Any, of_set: Any, engine: Steering) -> Steering:
    """`of_object`, `of_set`: what was said of them beside their manifests, as it is stored; None for nothing."""
    told: list[Mapping[str, Any]] = [each for each in (of_object, of_set) if each]
    suspended = "suspended" if any(each.get("suspended") for each in told) else ""
    if annotations.get(RECONCILE) == "disabled":
        suspended = f"{RECONCILE}: disabled"
    voices = [annotations.get(SELF_HEAL), *(each.get("self_heal") for each in told), engine.self_heal]
    windows = [annotations.get(WINDOW), *(each.get("window") for each in told), engine.window]
    rollouts = [*(each.get("rollouts") for each in told), engine.rollouts]
    return Steering(suspended, _first(voices), _first(windows), _first(rollouts))


def _first(voices: Iterable[str | None]) -> str:
    return next((voice for voice in voices if voice), "")


def holds_back(steering: Steering, action: Action, now: datetime) -> str:
    """Why the action is not done now, in words; empty where it is."""
    if steering.suspended:
        return steering.suspended
    return drift_stays(steering, now) if _is_drift(action) else ""


def drift_stays(steering: Steering, now: datetime) -> str:
    """Why drift is not repaired now, in words; empty where it is."""
    if steering.self_heal == "on":
        return ""
    if steering.self_heal == "off":
        return "self_heal is off"
    return "" if is_open(steering.window, now) else waits_for(steering.window, now)


def rollouts_wait(steering: Steering, now: datetime) -> str:
    """Why what is newly asked for is not done now, in words; empty where it is. Of what nobody does by hand."""
    if steering.rollouts != "window" or is_open(steering.window, now):
        return ""
    return waits_for(steering.window, now)


def waits_for(windows: str, now: datetime) -> str:
    """`waits for the window Mon-Fri 02:00-04:30, opens at 2026-11-25 02:00`, local time."""
    opens = opens_at(read_windows(windows), now)
    when = f", opens at {opens:%Y-%m-%d %H:%M}" if opens is not None else ""
    return f"waits for the window {windows or '(none)'}{when}"


def _is_drift(action: Action) -> bool:
    """Whether the machine moved, and neither a manifest nor a policy asks for it."""
    if action.verb is Verb.UNCHANGED or not action.changes:
        return False
    return all(change.drift or change.implied for change in action.changes) and not any(
        change.path[0] in DECIDED or is_image_change(change) for change in action.changes
    )


def is_open(windows: str, now: datetime) -> bool:
    """Whether one of `Mon-Fri 02:00-04:30, Sun 00:00-06:00` holds at local time `now`. Raises Refused."""
    try:
        found = read_windows(windows)
    except ValueError as error:
        raise Refused(str(error), step="self_heal") from error
    return any(window.holds(now.weekday(), now.hour * 60 + now.minute) for window in found)


def refuse_unknown(self_heal: str, windows: str) -> None:
    """Raises Refused for a mode or window that nobody understands."""
    if self_heal not in MODES:
        raise Refused(f"{self_heal!r} is no self_heal", hint=f"write one of {', '.join(MODES)}")
    is_open(windows, datetime.min)
