"""`trimtab events`: what happened, oldest first."""

from __future__ import annotations

import json
import time

import pytest

from reconciler.engine import open_engine
from reconciler.store.events import Event, record_events
from tests.cli.engine import Engine
from tests.cli.test_logs import until

pytestmark = pytest.mark.kernel


@pytest.fixture
def told(engine: Engine) -> Engine:
    """An engine to which three things happened."""
    add(engine, Event(1_764_000_000, "Container/db", "Normal", "Created", "does not exist"))
    add(engine, Event(1_764_000_100, "Container/web", "Warning", "Failed", "no such\nthing \x1b[31m"))
    add(engine, Event(1_764_000_200, "Container/db", "Normal", "Updated", "spec.mem_limit: 1 → 2"))
    return engine


def add(engine: Engine, event: Event) -> None:
    with open_engine(engine.layout) as opened:
        record_events(opened.database, [event])


def test_events_are_lines_safe_for_a_terminal(told: Engine) -> None:
    assert told.ok("events").lines == [
        "2025-11-24T16:00:00.000000Z  Normal   Container/db  Created: does not exist",
        "2025-11-24T16:01:40.000000Z  Warning  Container/web  Failed: no such thing �[31m",
        "2025-11-24T16:03:20.000000Z  Normal   Container/db  Updated: spec.mem_limit: 1 → 2",
    ]


def test_events_are_chosen_by_object_type_time_and_count(told: Engine) -> None:
    assert len(told.ok("events", "container/db").lines) == 2
    assert len(told.ok("events", "--type", "warning").lines) == 1
    assert len(told.ok("events", "--since", "1764000100").lines) == 2
    assert told.ok("events", "--last", "1").lines[0].startswith("2025-11-24T16:03:20")
    assert told.ok("events", "--last", "0").lines == []


def test_json_is_one_object_a_line(told: Engine) -> None:
    first = json.loads(told.ok("events", "-o", "json").lines[0])
    assert first == {
        "time": "2025-11-24T16:00:00.000000Z",
        "object": "Container/db",
        "type": "Normal",
        "reason": "Created",
        "message": "does not exist",
    }


def test_following_tells_what_happens_then_and_ends_on_ctrl_c(told: Engine) -> None:
    following = told.start("events", "-f", "--last", "1")
    until(lambda: len(following.so_far().lines) == 1)
    add(told, Event(time.time(), "Volume/new", "Normal", "Created", "does not exist"))
    until(lambda: len(following.so_far().lines) == 2)
    following.interrupt()
    said = following.wait(10)
    assert (said.code, said.err) == (130, "")
    assert said.lines[1].endswith("Volume/new  Created: does not exist")


def test_following_tells_only_of_what_was_asked_for(told: Engine) -> None:
    following = told.start("events", "-f", "container/web", "--type", "warning", "--last", "0", "-o", "json")
    add(told, Event(time.time(), "Container/db", "Warning", "Failed", "another object"))
    # nothing says when it follows: what it is to tell is done again until it is told
    until(lambda: _again(told) and bool(following.so_far().lines))
    following.interrupt()
    said = following.wait(10)
    assert said.code == 130
    found = [json.loads(line) for line in said.lines]
    assert {(each["object"], each["type"], each["message"]) for each in found} == {("Container/web", "Warning", "this")}


def _again(told: Engine) -> bool:
    add(told, Event(time.time(), "Container/web", "Normal", "Updated", "another type"))
    add(told, Event(time.time(), "Container/web", "Warning", "Failed", "this"))
    return True


def test_what_is_no_time_is_refused(told: Engine) -> None:
    said = told.run("events", "--since", "tomorrow")
    assert said.code == 2
    assert "'tomorrow' is no time" in said.err
