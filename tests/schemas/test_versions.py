"""Versions and ranges, against npm's own rules."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.versions import Core, Range, Version, read_range, read_version

TAGS = ["v0.9.0", "v1.3.9", "1.4.0", "v1.4.7", "v1.9.0-rc.1", "v1.10.0", "v2.0.0-beta.2", "v2.0.0", "v2.1.0", "latest"]


@pytest.mark.parametrize(
    ("text", "newest"),
    [
        (">=1.4 <2", "v1.10.0"),
        (">=1.4, <2", "v1.10.0"),
        ("^1.4.0", "v1.10.0"),
        ("~1.4", "v1.4.7"),
        ("~> 1.4", "v1.4.7"),
        ("1.4.x", "v1.4.7"),
        ("1.4", "v1.4.7"),
        ("1", "v1.10.0"),
        ("*", "v2.1.0"),
        ("x", "v2.1.0"),
        ("1.0 - 1.4", "v1.4.7"),
        ("1.0.0 - 1.4.0", "1.4.0"),
        ("=v1.4.7", "v1.4.7"),
        ("<1.4 || >2.0.0", "v2.1.0"),
        (">1.4", "v2.1.0"),
        ("<=1", "v1.10.0"),
        ("<1.0.0", "v0.9.0"),
        ("^0.9", "v0.9.0"),
        (">=1.9.0-rc.0 <1.9.1", "v1.9.0-rc.1"),
        (">=2.0.0-beta.1 <2.0.1", "v2.0.0"),
        (">3", None),
        (">=1.9.0 <1.10.0", None),
    ],
)
def test_the_newest_tag_of_a_range_is_npms(text: str, newest: str | None) -> None:
    assert read_range(text).newest(TAGS) == newest


@pytest.mark.parametrize("text", ["", "||", "newest", ">=", "1.2.3.4", ">=1.0 ||", "1.2.3-01", "01.2.3", "^^1"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|version"):
        read_range(text)


def test_precedence_is_semvers_own_example() -> None:
    order = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    versions = [read_version(text) for text in [*order, "1.0.0-rc.1", "1.0.0"]]
    assert None not in versions
    assert versions == sorted(versions, key=lambda version: version or Version((0, 0, 0)))
    assert read_version("1.0.0+a") == read_version("1.0.0+b")


NUMBERS = st.integers(0, 30)
CORES = st.tuples(NUMBERS, NUMBERS, NUMBERS)


@given(CORES, st.lists(CORES, max_size=8))
def test_a_caret_never_leaves_the_leftmost_number_that_is_not_zero(base: Core, others: list[Core]) -> None:
    wanted = read_range("^" + ".".join(map(str, base)))
    first = next((index for index, part in enumerate(base) if part), 2)
    for core in [base, *others]:
        inside = core[: first + 1] == base[: first + 1] and core >= base
        assert wanted.admits(Version(core)) == inside


@given(st.text(max_size=20))
def test_any_text_is_a_range_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(read_range(text), Range)


@given(CORES)
def test_a_version_reads_back(core: tuple[int, int, int]) -> None:
    assert read_version(str(Version(core, ("rc", "1")))) == Version(core, ("rc", "1"))
