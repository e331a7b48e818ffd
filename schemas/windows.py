"""Maintenance windows, as `Mon-Fri 02:00-04:30, Sun 00:00-06:00`: at local time, one or several. Pure.

A window that ends before it begins goes past midnight, and belongs to the day it begins on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(DAYS)
_CLOCK = r"([01]\d|2[0-3]):([0-5]\d)"
_WINDOW = re.compile(rf"(?:({_DAY})(?:-({_DAY}))? +)?{_CLOCK}-{_CLOCK}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Window:
    """`days` are 0 (Monday) to 6; `begins` and `ends` count minutes of the day."""

    days: frozenset[int]
    begins: int
    ends: int

    def holds(self, day: int, minute: int) -> bool:
        if self.begins < self.ends:
            return day in self.days and self.begins <= minute < self.ends
        return (day in self.days and minute >= self.begins) or ((day - 1) % 7 in self.days and minute < self.ends)


def read_windows(text: str) -> tuple[Window, ...]:
    """Empty for an empty text. Raises ValueError naming what is no window."""
    return tuple(_read(part.strip()) for part in text.split(",") if part.strip())


def is_windows(text: str) -> bool:
    """Whether `read_windows` understands it, and it says something."""
    try:
        return bool(read_windows(text))
    except ValueError:
        return False


def opens_at(windows: tuple[Window, ...], now: datetime) -> datetime | None:
    """When the next of them begins, in local time; None where there is none."""
    found = []
    for window in windows:
        for later in range(8):
            day = now.date() + timedelta(days=later)
            begins = datetime.combine(day, time(window.begins // 60, window.begins % 60))
            if day.weekday() in window.days and begins > now:
                found.append(begins)
                break
    return min(found, default=None)


def _read(text: str) -> Window:
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no window; write it as Mon-Fri 02:00-04:30, or 22:00-06:00")
    first, last, *clock = match.groups()
    begins, ends = int(clock[0]) * 60 + int(clock[1]), int(clock[2]) * 60 + int(clock[3])
    return Window(_days(first, last), begins, ends)


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    start, end = DAYS.index(first.lower()), DAYS.index((last or first).lower())
    return frozenset((start + step) % 7 for step in range((end - start) % 7 + 1))
