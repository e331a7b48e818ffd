"""A wall clock that jumps by a day either way, and a machine that slept: nobody waits for it, and nothing is absurd."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reconciler.cli.quantities import age_text
from reconciler.health import Check, HealthStatus, Result, after, begin, may_act, moment_of_start, pause
from reconciler.images.follow import Followed
from reconciler.images.following import is_due_to_look
from reconciler.restart import Condition, Ended, Policy, Restarts, decide
from reconciler.sources.snapshot import STALE_LOCK, is_git_busy
from schemas.image import ImageSpec

NOW, DAY = 1_800_000_000.0, 86_400.0
JUMPS = [-DAY, -1.5, 1.5, DAY]
CHECK = Check("CMD", ("true",), interval=30, retries=2, start_period=20, start_interval=2, on_unhealthy="restart")
ALWAYS = Policy(Condition.ALWAYS)


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize(("ran", "count"), [(0.5, 8), (9.9, 8), (10.0, 1), (3600.0, 1)])
def test_ten_seconds_of_running_are_measured_whatever_the_clock_did_meanwhile(
    jump: float, ran: float, count: int
) -> None:
    ended = Ended(1, NOW, NOW + ran + jump, measured=ran)
    decision = decide(ALWAYS, ended, Restarts(7), NOW + ran + jump)
    assert decision.restarts == Restarts(count)
    assert decision.at is not None and decision.at <= NOW + ran + jump + ALWAYS.max_delay


@pytest.mark.parametrize("jump", JUMPS)
def test_a_delay_is_never_longer_than_it_was_for_a_jump_while_it_is_waited_for(jump: float) -> None:
    ended, later = Ended(1, NOW - 1, NOW, measured=1.0), NOW + 0.05 + jump
    before = decide(ALWAYS, ended, Restarts(5), NOW + 0.05)
    decision = decide(ALWAYS, ended, Restarts(5), later)
    assert before.at == NOW + 1.6
    assert decision.at is not None and decision.at - later <= 1.6
    assert decision.is_due(later) is (jump != 1.5)


@pytest.mark.parametrize("jump", JUMPS)
def test_a_start_period_is_as_long_as_it_says_though_the_daemon_begins_after_a_jump(jump: float) -> None:
    """Of a process that is five seconds old by the kernel's clock."""
    started = moment_of_start(NOW, NOW + 5 + jump, age=5.0, now=1000.0)
    assert 995.0 <= started <= 1000.0
    health = begin(started)
    assert pause(CHECK, health, 1000.0) == 2
    assert after(CHECK, health, Result(False, "", 1001.0)).streak == 0
    for moment in (1021.0, 1051.0):
        health = after(CHECK, health, Result(False, "", moment))
    assert health.status is HealthStatus.UNHEALTHY, "an ill one is not taken for a starting one for a day"


def test_a_process_is_not_younger_for_a_start_that_waited() -> None:
    """Created long before it was started."""
    assert moment_of_start(NOW, NOW + 5, age=500.0, now=1000.0) == 995.0
    assert moment_of_start(None, NOW, age=500.0, now=1000.0) == 1000.0


@pytest.mark.parametrize("jump", JUMPS)
def test_a_flap_limit_blocks_nobody_longer_than_its_ten_minutes(jump: float) -> None:
    acted = [NOW - 1] * CHECK.flap_limit
    assert not may_act(CHECK, acted, NOW)
    assert may_act(CHECK, acted, NOW + jump) is (jump != 1.5)
    assert may_act(CHECK, acted, NOW + 600)


@pytest.mark.parametrize(("jump", "due"), [(-DAY, True), (-1.5, True), (0.0, False), (DAY, True)])
def test_a_registry_is_asked_again_after_a_jump(jump: float, due: bool) -> None:
    spec = ImageSpec.model_validate({"ref": "registry.lan/app:1", "follow": {"policy": "digest", "interval": "1h"}})
    assert is_due_to_look(Followed("wish", checked_at=NOW), spec, NOW + jump) is due


@pytest.mark.parametrize(("jump", "busy"), [(-DAY, False), (0.0, True), (DAY, False)])
def test_a_lock_that_a_git_left_behind_keeps_a_directory_for_seconds(tmp_path: Path, jump: float, busy: bool) -> None:
    lock = tmp_path / ".git/index.lock"
    lock.parent.mkdir()
    lock.touch()
    moment = time.time() - jump
    os.utime(lock, (moment, moment))
    assert is_git_busy(tmp_path) is busy
    assert DAY > STALE_LOCK


@pytest.mark.parametrize(("seconds", "text"), [(-DAY, "0s"), (-0.5, "0s"), (DAY, "1d")])
def test_an_age_is_never_negative(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
