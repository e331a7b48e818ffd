"""Who may repair what, and when."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from reconciler.actions import Action, Change, Effect, Verb
from reconciler.steering import Steering, holds_back, is_open, rollouts_wait, steer
from schemas.errors import Refused
from schemas.names import Key, Kind
from schemas.windows import opens_at, read_windows

DB = Key(Kind.CONTAINER, "db")
TUESDAY_NIGHT = datetime(2026, 11, 24, 3, 0)


def action(path: str, *, drift: bool) -> Action:
    return Action(Verb.UPDATE, DB, "", (Change((path,), 1, 2, Effect.LIVE, drift=drift),))


DRIFT, INTENT = action("limits", drift=True), action("limits", drift=False)
ENDED = action("process", drift=True)


WAITS = "waits for the window Sat 02:00-04:00, opens at 2026-11-28 02:00"


@pytest.mark.parametrize(
    ("steering", "what", "held"),
    [
        (Steering(), DRIFT, ""),
        (Steering(self_heal="off"), DRIFT, "self_heal is off"),
        (Steering(self_heal="off"), INTENT, ""),
        (Steering(self_heal="off"), ENDED, ""),
        (Steering(self_heal="window", window="02:00-04:00"), DRIFT, ""),
        (Steering(self_heal="window", window="Sat 02:00-04:00"), DRIFT, WAITS),
        (Steering(suspended="suspended"), INTENT, "suspended"),
        (Steering(suspended="suspended"), ENDED, "suspended"),
    ],
)
def test_what_is_held_back(steering: Steering, what: Action, held: str) -> None:
    assert holds_back(steering, what, TUESDAY_NIGHT) == held


@pytest.mark.parametrize(
    ("window", "moment", "holds"),
    [
        ("02:00-04:00", TUESDAY_NIGHT, True),
        ("04:00-05:00", TUESDAY_NIGHT, False),
        ("Mon-Fri 02:00-04:00", TUESDAY_NIGHT, True),
        ("Sat-Mon 02:00-04:00", TUESDAY_NIGHT, False),
        ("Mon 22:00-06:00", TUESDAY_NIGHT, True),
        ("Tue 22:00-06:00", TUESDAY_NIGHT, False),
        ("Sat 02:00-04:00, Tue 02:59-03:01", TUESDAY_NIGHT, True),
        ("", TUESDAY_NIGHT, False),
    ],
)
def test_windows(window: str, moment: datetime, holds: bool) -> None:
    assert is_open(window, moment) is holds


@pytest.mark.parametrize("text", ["25:00-26:00", "Mon", "Foo 01:00-02:00", "nightly"])
def test_a_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is no window"):
        is_open(text, TUESDAY_NIGHT)


@pytest.mark.parametrize(
    ("windows", "opens"),
    [
        ("02:00-04:00", TUESDAY_NIGHT.replace(hour=2, minute=0) + timedelta(days=1)),
        ("04:00-05:00", TUESDAY_NIGHT.replace(hour=4, minute=0)),
        ("Mon 22:00-06:00, Fri 01:30-02:00", TUESDAY_NIGHT.replace(hour=1, minute=30) + timedelta(days=3)),
        ("Tue 02:00-03:00", TUESDAY_NIGHT.replace(hour=2, minute=0) + timedelta(days=7)),
        ("", None),
    ],
)
def test_when_the_next_window_opens(windows: str, opens: datetime | None) -> None:
    assert opens_at(read_windows(windows), TUESDAY_NIGHT) == opens


@pytest.mark.parametrize(
    ("steering", "waits"),
    [
        (Steering(), ""),
        (Steering(self_heal="window", window="Sat 02:00-04:00"), ""),
        (Steering(rollouts="window", window="Tue 02:00-04:00"), ""),
        (Steering(rollouts="window", window="Sat 02:00-04:00"), WAITS),
    ],
)
def test_what_comes_by_itself_waits_for_the_window_where_it_is_told_to(steering: Steering, waits: str) -> None:
    assert rollouts_wait(steering, TUESDAY_NIGHT) == waits
    assert holds_back(steering, INTENT, TUESDAY_NIGHT) == ""


def test_the_nearest_voice_counts() -> None:
    engine = Steering(self_heal="on", window="01:00-02:00")
    assert steer({}, None, {"self_heal": "off"}, engine) == Steering("", "off", "01:00-02:00")
    assert steer({"trimtab/self-heal": "on"}, None, {"self_heal": "off"}, engine).self_heal == "on"
    assert steer({"trimtab/reconcile": "disabled"}, None, None, engine).suspended == "trimtab/reconcile: disabled"
    assert steer({}, None, {"suspended": True}, engine).suspended == "suspended"
