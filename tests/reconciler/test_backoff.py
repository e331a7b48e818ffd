"""Failed steps: tried again later and later, within a cap; refusals wait for a change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.backoff import CAP, FIRST, JITTER, Failure, after_failure, delay, is_final
from schemas.errors import Invalid, Refused, RetryLater


@pytest.mark.parametrize(
    ("error", "final"),
    [(Refused("no"), True), (Invalid([]), True), (RetryLater("soon"), False), (OSError(28, "full"), False)],
)
def test_only_a_refusal_is_final(error: Exception, final: bool) -> None:
    assert is_final(error) is final
    assert (after_failure(None, error, 10.0, 0.0).at is None) is final


def test_failures_in_a_row_are_counted_and_told() -> None:
    first = after_failure(None, RetryLater("the device is not there"), 10.0, 0.0)
    second = after_failure(first, RetryLater("the device is not there"), 20.0, 0.0)
    assert first == Failure(1, "the device is not there", 10.0 + FIRST)
    assert second == Failure(2, "the device is not there", 20.0 + 2 * FIRST)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_stays_within_its_cap_and_its_jitter(count: int, chance: float) -> None:
    full = delay(count, 0.0)
    assert full <= CAP
    assert full * (1 - JITTER) <= delay(count, chance) <= full
