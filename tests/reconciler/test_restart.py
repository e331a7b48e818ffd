"""Restart policies: Docker's meaning, a first restart at once, then delays that double up to a cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.restart import Condition, Ended, Policy, Restarts, decide, delay, policy_of

NOW = 1_000_000.0
ENDINGS = {"well": Ended(0, NOW - 1, NOW), "failed": Ended(3, NOW - 1, NOW), "unseen": Ended(None, NOW - 1, None)}
NEVER = None


@pytest.mark.parametrize(
    ("condition", "ending", "at"),
    [
        ("no", "well", NEVER),
        ("no", "failed", NEVER),
        ("no", "unseen", NEVER),
        ("on-failure", "well", NEVER),
        ("on-failure", "failed", NOW),
        ("on-failure", "unseen", NOW),
        ("always", "well", NOW),
        ("always", "failed", NOW),
        ("unless-stopped", "well", NOW),
        ("unless-stopped", "failed", NOW),
    ],
)
def test_the_first_restart_is_at_once_where_there_is_one(condition: str, ending: str, at: float | None) -> None:
    assert decide(Policy(Condition(condition)), ENDINGS[ending], Restarts(), NOW).at == at


def test_delays_double_from_a_tenth_of_a_second_to_a_minute() -> None:
    policy = Policy(Condition.ALWAYS)
    delays = [delay(policy, count) for count in range(13)]
    assert delays == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60]


def test_who_ran_ten_seconds_begins_anew() -> None:
    ended = Ended(1, NOW - 10, NOW)
    assert decide(Policy(Condition.ALWAYS), ended, Restarts(7), NOW).restarts == Restarts(1)
    assert decide(Policy(Condition.ALWAYS), ended, Restarts(7), NOW).at == NOW


def test_on_failure_gives_up_after_its_count_and_says_so() -> None:
    policy = Policy(Condition.ON_FAILURE, max_attempts=3)
    decision = decide(policy, ENDINGS["failed"], Restarts(3), NOW)
    assert decision.at is None and decision.reason == "gave up after 3 restarts in a row"
    assert decide(policy, ENDINGS["failed"], Restarts(2), NOW).at is not None


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ({}, Policy()),
        ({"restart": "on-failure:4"}, Policy(Condition.ON_FAILURE, 4)),
        ({"restart": "always", "restart_policy": {"delay": 0.0}}, Policy(Condition.ALWAYS, delay=0.0)),
        (
            {"restart": "on-failure:4", "restart_policy": {"max_attempts": 2, "max_delay": 5.0, "window": 1.0}},
            Policy(Condition.ON_FAILURE, 2, max_delay=5.0, window=1.0),
        ),
    ],
)
def test_a_policy_is_read_from_the_manifest(spec: dict[str, object], policy: Policy) -> None:
    assert policy_of(spec) == policy


policies = st.builds(
    Policy,
    st.sampled_from(Condition),
    st.none() | st.integers(1, 20),
    st.floats(0, 10),
    st.floats(0, 600),
    st.floats(0, 100),
)
moments = st.floats(0, 4e9)
endings = st.builds(Ended, st.none() | st.integers(0, 255), st.none() | moments, st.none() | moments, st.just(""))


@given(policies, endings, st.integers(0, 10_000), moments)
def test_nobody_waits_longer_than_the_cap_whatever_the_clock_says(
    policy: Policy, ended: Ended, count: int, now: float
) -> None:
    decision = decide(policy, ended, Restarts(count), now)
    if decision.at is not None:
        assert decision.at <= now + policy.max_delay
        assert decision.restarts.count <= count + 1


def test_a_clock_that_was_set_back_keeps_nobody_waiting_for_what_it_has_lost() -> None:
    policy, ended = Policy(Condition.ALWAYS), Ended(1, NOW - 1, NOW)
    for now in (NOW - 86_400, NOW - 2):
        assert decide(policy, ended, Restarts(5), now).at == now
    moments = [decide(policy, ended, Restarts(5), NOW + seconds).at for seconds in (0, 0.5, 1.5)]
    assert moments == [NOW + 1.6] * 3, "looked at again and again, it is the same moment"


@given(policies, endings, st.integers(0, 100), moments)
def test_the_policy_no_never_starts_and_always_gives_up_at_its_limit_alone(
    policy: Policy, ended: Ended, count: int, now: float
) -> None:
    decision = decide(policy, ended, Restarts(count), now)
    if policy.condition is Condition.NO:
        assert decision.at is None
    elif policy.max_attempts is None and (ended.failed or policy.condition is not Condition.ON_FAILURE):
        assert decision.at is not None


@given(policies, st.integers(0, 200))
def test_delays_never_shrink_within_a_row(policy: Policy, count: int) -> None:
    assert delay(policy, count) <= max(delay(policy, count + 1), policy.max_delay * (count == 0))
