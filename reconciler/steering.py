"""Who may repair what, and when: suspended objects, `self_heal`, maintenance windows. Pure.

An object that is suspended is looked at and told of, never acted on. `self_heal` is about drift alone: what the
manifests ask newly is always done, and what a restart policy or a health check decides is no drift. Of several voices
the nearest counts: the object's annotations, then its set's, then the engine's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.actions import Action, Verb
from schemas.errors import Refused

RECONCILE, SELF_HEAL, WINDOW = "trimtab/reconcile", "trimtab/self-heal", "trimtab/window"
"""Annotations: `disabled`; `on`, `off`, `window`; `Mon-Fri 02:00-04:30`."""
MODES = ("on", "off", "window")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))? )?([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
MINUTES_OF_DAY = 24 * 60
DECIDED = ("process", "health")
"""What the loop decides by policy."""


@dataclass(frozen=True, slots=True)
class Steering:
    """`suspended`: why nothing is done, in words; empty while something is."""

    suspended: str = ""
    self_heal: str = "on"
    window: str = ""


def steer(annotations: Mapping[str, str], of_object: Any, of_set: Any, engine: Steering) -> Steering:
    """`of_object`, `of_set`: what was said of them beside their manifests, as it is stored; None for nothing."""
    told: list[Mapping[str, Any]] = [each for each in (of_object, of_set) if each]
    suspended = "suspended" if any(each.get("suspended") for each in told) else ""
    if annotations.get(RECONCILE) == "disabled":
        suspended = f"{RECONCILE}: disabled"
    voices = [annotations.get(SELF_HEAL), *(each.get("self_heal") for each in told), engine.self_heal]
    windows = [annotations.get(WINDOW), *(each.get("window") for each in told), engine.window]
    return Steering(suspended, _first(voices), _first(windows))


def _first(voices: Iterable[str | None]) -> str:
    return next((voice for voice in voices if voice), "")


def holds_back(steering: Steering, action: Action, now: datetime) -> str:
    """Why the action is not done now, in words; empty where it is."""
    if steering.suspended:
        return steering.suspended
    if steering.self_heal == "on" or not _is_drift(action):
        return ""
    if steering.self_heal == "off":
        return "self_heal is off"
    return "" if is_open(steering.window, now) else f"waits for the window {steering.window or '(none)'}"


def _is_drift(action: Action) -> bool:
    """Whether the machine moved, and neither a manifest nor a policy asks for it."""
    if action.verb is Verb.UNCHANGED or not action.changes:
        return False
    return all(change.drift or change.implied for change in action.changes) and not any(
        change.path[0] in DECIDED for change in action.changes
    )


def is_open(windows: str, now: datetime) -> bool:
    """Whether one of `Mon-Fri 02:00-04:30, Sun 00:00-06:00` holds at local time `now`. Raises Refused.

    A window that ends before it begins goes past midnight, and belongs to the day it begins on.
    """
    minute = now.hour * 60 + now.minute
    return any(_holds(text.strip(), now.weekday(), minute) for text in windows.split(",") if text.strip())


def _holds(text: str, day: int, minute: int) -> bool:
    match = _WINDOW.fullmatch(text.lower())
    if match is None or any(word and word not in DAYS for word in match.groups()[:2]):
        raise Refused(
            f"{text!r} is no window", step="self_heal", hint="write it as Mon-Fri 02:00-04:30, or 22:00-06:00"
        )
    first, last, *clock = match.groups()
    days = _days(first, last)
    begins, ends = int(clock[0]) * 60 + int(clock[1]), int(clock[2]) * 60 + int(clock[3])
    if begins < ends:
        return day in days and begins <= minute < ends
    return (day in days and minute >= begins) or ((day - 1) % 7 in days and minute < ends)


def _days(first: str | None, last: str | None) -> set[int]:
    if first is None:
        return set(range(7))
    start, end = DAYS.index(first), DAYS.index(last or first)
    return {(start + step) % 7 for step in range((end - start) % 7 + 1)}


def refuse_unknown(steering: Mapping[str, str]) -> None:
    """Raises Refused for a mode or window that nobody understands."""
    if steering.get("self_heal", "on") not in MODES:
        raise Refused(f"{steering['self_heal']!r} is no self_heal", hint=f"write one of {', '.join(MODES)}")
    is_open(steering.get("window", ""), datetime(2026, 1, 1))
