"""Sizes, durations, processors and modes, in every spelling of Compose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import units
from schemas.scalars import resolve


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (0, 0),
        ("0", 0),
        ("2b", 2),
        ("1024kb", 1 << 20),
        ("2048k", 2 << 20),
        ("300m", 300 << 20),
        ("1gb", 1 << 30),
        ("1GiB", 1 << 30),
        ("1.5g", 3 << 29),
        ("1 MB", 1 << 20),
        ("2T", 2 << 40),
        ("1p", 1 << 50),
        (" 64M ", 64 << 20),
    ],
)
def test_a_size_is_read(written: Any, size: int) -> None:
    assert units.read_bytes(written) == size


@pytest.mark.parametrize(
    "written", ["", "m", "1x", "-1", -1, "1e3", "10mm", True, None, 1.5, "9" * 40, "8192p", "1\n2"]
)
def test_what_is_no_size_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="; write"):
        units.read_bytes(written)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("10ms", 0.01),
        ("40s", 40.0),
        ("1m30s", 90.0),
        ("1h5m30s20ms", 3930.02),
        ("1.5h", 5400.0),
        ("2d", 172800.0),
        ("100us", 0.0001),
        ("100µs", 0.0001),
        (10, 10.0),
        (0.5, 0.5),
        ("10", 10.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_read(written: Any, seconds: float) -> None:
    assert units.read_seconds(written) == seconds


def test_two_spellings_of_a_duration_are_the_same_number() -> None:
    assert units.read_seconds("0.1s") == units.read_seconds("100ms") == units.read_seconds(0.1)


@pytest.mark.parametrize(
    "written", ["", "s", "10 parsecs", "-1s", -1, True, None, float("nan"), float("inf"), "200000d", 10**400]
)
def test_what_is_no_duration_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="; write"):
        units.read_seconds(written)


@pytest.mark.parametrize(("written", "cpus"), [("0.50", 0.5), (2, 2.0), (0, None), ("0.000", None), (0.01, 0.01)])
def test_a_number_of_processors_is_read(written: Any, cpus: float | None) -> None:
    assert units.read_cpus(written) == cpus


@pytest.mark.parametrize("written", [-1, 0.001, "many", True, float("nan"), float("inf"), 10**400, None, [1]])
def test_what_is_no_number_of_processors_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="; write"):
        units.read_cpus(written)


@pytest.mark.parametrize(
    ("plain", "mode"),
    [("0440", 0o440), ("0o440", 0o440), ("0o670", 0o670), ("01777", 0o1777)],
)
def test_a_plain_yaml_mode_is_octal_when_it_says_so(plain: str, mode: int) -> None:
    assert units.read_mode(resolve(plain)) == mode


@pytest.mark.parametrize(("quoted", "mode"), [("0440", 0o440), ("440", 0o440), ("1777", 0o1777), ("0o400", 0o400)])
def test_a_quoted_mode_is_octal(quoted: str, mode: int) -> None:
    assert units.read_mode(quoted) == mode


def test_a_mode_that_could_be_decimal_is_refused_with_both_readings() -> None:
    with pytest.raises(ValueError, match='440 could be octal or decimal; write it octal and quoted, as in "0440"'):
        units.read_mode(resolve("440"))


@pytest.mark.parametrize("written", ["", "999", "rw-r--r--", 8, "17777", "0o", True, None, 4.4, "-440"])
def test_what_is_no_mode_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="; write"):
        units.read_mode(written)


@given(st.integers(0, 0o7777))
def test_a_mode_reads_back_as_it_is_written(mode: int) -> None:
    assert units.read_mode(units.format_mode(mode)) == mode


@given(
    st.sampled_from([units.read_bytes, units.read_seconds, units.read_cpus, units.read_mode, units.read_microseconds]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers())),
)
def test_any_value_is_read_or_refused_with_a_remedy(read: Callable[[Any], Any], value: Any) -> None:
    try:
        read(value)
    except ValueError as error:
        assert "; " in str(error)
