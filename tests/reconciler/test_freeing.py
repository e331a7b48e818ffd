"""The watermarks: when images go, which, and how many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.freeing import Disk, Marks, Unused, is_full, to_let_go

MARKS = Marks(high=0.8, low=0.6, least_age=100)
NOW = 10_000.0
OLD, YOUNGER, NEW = Unused("old", 10, 0), Unused("younger", 10, 5_000), Unused("new", 10, 9_950)


def test_below_the_high_mark_nothing_goes() -> None:
    assert to_let_go(Disk(100, 79), 0, [OLD], MARKS, NOW) == ()


def test_the_oldest_go_until_the_low_mark_is_reached() -> None:
    assert to_let_go(Disk(100, 80), 0, [YOUNGER, OLD], MARKS, NOW) == ("old", "younger")
    assert to_let_go(Disk(100, 80), 10, [YOUNGER, OLD], MARKS, NOW) == ("old",)


def test_what_is_lost_anyway_may_be_enough() -> None:
    assert to_let_go(Disk(100, 90), 30, [OLD], MARKS, NOW) == ()


def test_a_young_one_stays_however_full_it_is() -> None:
    assert to_let_go(Disk(100, 100), 0, [NEW], MARKS, NOW) == ()


@given(
    total=st.integers(1, 1000),
    used=st.integers(0, 1000),
    lost=st.integers(0, 100),
    images=st.lists(st.tuples(st.integers(1, 100), st.floats(0, NOW)), max_size=8),
)
def test_no_more_goes_than_is_asked_for(total: int, used: int, lost: int, images: list[tuple[int, float]]) -> None:
    disk = Disk(total, min(used, total))
    unused = [Unused(str(number), size, since) for number, (size, since) in enumerate(images)]
    gone = [each for name in to_let_go(disk, lost, unused, MARKS, NOW) for each in unused if each.name == name]
    assert is_full(disk, MARKS) or not gone
    # without the last of them it would not have been enough
    assert sum(each.bytes for each in gone[:-1]) < max(1, disk.used - lost - disk.total * MARKS.low + 1)
    assert all(NOW - each.since >= MARKS.least_age for each in gone)
