"""Times and sizes as people read and write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.cli.quantities import age_text, read_moment, size_text, time_text
from schemas.errors import Refused

NOW = 1_764_000_000.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0.9, "0s"),
        (59, "59s"),
        (192, "3m12s"),
        (660, "11m"),
        (7_500, "2h5m"),
        (7_200, "2h"),
        (360_000, "4d4h"),
        (86_400 * 120, "120d"),
    ],
)
def test_an_age_has_two_units_at_most(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (33_554_432, "32 MiB"), (5_000_000_000, "4.7 GiB")],
)
def test_a_size_is_short(count: int, text: str) -> None:
    assert size_text(count) == text


def test_a_time_is_utc_with_microseconds() -> None:
    assert time_text(1_764_000_000.25) == "2025-11-24T16:00:00.250000Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10m", NOW - 600),
        ("1h30m", NOW - 5_400),
        ("1764000000", NOW),
        ("1764000000.5", NOW + 0.5),
        ("2025-11-24T16:00:00Z", NOW),
        ("2025-11-24T17:00:00+01:00", NOW),
    ],
)
def test_a_moment_is_how_long_ago_or_when(text: str, moment: float) -> None:
    assert read_moment(text, NOW) == moment


def test_a_moment_without_a_zone_is_local() -> None:
    here = datetime.fromtimestamp(NOW, UTC).astimezone().replace(tzinfo=None)
    assert read_moment(here.isoformat(), NOW) == NOW


@pytest.mark.parametrize("text", ["", "yesterday", "-5m", "1.2.3"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is no time; write how long ago"):
        read_moment(text, NOW)
