"""Health: Docker's state machine, from one result to the next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.health import Check, Health, HealthStatus, Result, after, begin, check_of, may_act, pause

CHECK = Check("CMD", ("true",), interval=30, retries=3, start_period=20, start_interval=2)
SECOND = 1_000_000_000


def run(results: str, at: float = 100.0, check: Check = CHECK) -> list[str]:
    """The status after each result: `+` or `-`."""
    health, found = begin(0.0), []
    for result in results:
        health = after(check, health, Result(result == "+", "", at))
        found.append(health.status.value)
    return found


@pytest.mark.parametrize(
    ("results", "at", "last"),
    [
        ("+", 100.0, "healthy"),
        ("--", 100.0, "starting"),
        ("---", 100.0, "unhealthy"),
        ("+--", 100.0, "healthy"),
        ("+---", 100.0, "unhealthy"),
        ("--+--", 100.0, "healthy"),
        ("---+", 100.0, "healthy"),
        ("------", 5.0, "starting"),
        ("---+---", 5.0, "unhealthy"),
    ],
)
def test_a_row_of_results(results: str, at: float, last: str) -> None:
    assert run(results, at)[-1] == last


def test_checks_come_faster_within_the_start_period_until_one_succeeded() -> None:
    assert pause(CHECK, begin(0.0), 5.0) == 2
    assert pause(CHECK, begin(0.0), 25.0) == 30
    assert pause(CHECK, Health(HealthStatus.HEALTHY, 0.0), 5.0) == 30


@pytest.mark.parametrize(
    ("spec", "image", "check"),
    [
        ({}, None, None),
        ({"healthcheck": {"disable": True, "test": ["NONE"]}}, {"test": ("CMD", "x")}, None),
        ({}, {"test": ("NONE",)}, None),
        ({}, {"test": ("CMD", "x"), "interval": 5 * SECOND}, Check("CMD", ("x",), interval=5.0)),
        (
            {"healthcheck": {"interval": 1.0, "retries": 9}},
            {"test": ("CMD-SHELL", "x"), "interval": 5 * SECOND, "timeout": SECOND},
            Check("CMD-SHELL", ("x",), interval=1.0, timeout=1.0, retries=9),
        ),
        ({"healthcheck": {"tcp": {"port": 80}}}, {"test": ("CMD", "x")}, Check("tcp", {"port": 80})),
    ],
)
def test_a_check_is_the_manifests_with_the_images_filled_in(
    spec: dict[str, object], image: dict[str, object] | None, check: Check | None
) -> None:
    assert check_of(spec, image) == check


def test_an_unhealthy_container_is_acted_on_as_often_as_its_limit_says_within_ten_minutes() -> None:
    check = Check("CMD", ("x",), on_unhealthy="restart", flap_limit=2)
    assert may_act(check, (), 1000.0)
    assert may_act(check, (900.0,), 1000.0)
    assert not may_act(check, (900.0, 950.0), 1000.0)
    assert may_act(check, (100.0, 950.0), 1000.0)
    assert not may_act(Check("CMD", ("x",)), (), 1000.0)


@given(st.text("+-", max_size=60), st.floats(0, 1000))
def test_it_is_unhealthy_only_after_as_many_failures_in_a_row_as_it_has_retries(results: str, at: float) -> None:
    for number, status in enumerate(run(results, at), 1):
        if status == "unhealthy":
            assert results[:number].endswith("---")
        if results[number - 1] == "+":
            assert status == "healthy"
