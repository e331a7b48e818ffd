"""Times and sizes as people read them, and the times they write. Pure; the clock is an argument."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from schemas.errors import Refused

PRECISION = 1e-6
"""Seconds: what is printed of a time says no more."""
UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
SIZES = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def age_text(seconds: float) -> str:
    """`8s`, `3m12s`, `2h5m`, `4d3h`, `120d`: two units at most, and one where the second says nothing."""
    left = max(0, int(seconds))
    for index, (unit, length) in enumerate(UNITS):
        if left >= length:
            whole, rest = divmod(left, length)
            finer, finer_length = UNITS[index + 1] if index + 1 < len(UNITS) else ("", 1)
            part = rest // finer_length if finer and whole < 10 else 0
            return f"{whole}{unit}" + (f"{part}{finer}" if part else "")
    return "0s"


def size_text(count: int) -> str:
    """Bytes in two to four digits: `812 B`, `4.2 MiB`, `31 GiB`."""
    power = min((count.bit_length() - 1) // 10, len(SIZES)) if count else 0
    if power == 0:
        return f"{count} B"
    number = count / 1024**power
    return f"{number:.1f} {SIZES[power - 1]}" if number < 9.95 else f"{number:.0f} {SIZES[power - 1]}"


def objects_are(count: int) -> str:
    """`1 object is`, `2 objects are`."""
    return "1 object is" if count == 1 else f"{count} objects are"


def time_text(moment: float) -> str:
    """RFC 3339 in UTC with microseconds, never later than the moment; every one is as long as the next."""
    seconds, microseconds = divmod(math.floor(moment * 1_000_000), 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{microseconds:06}Z"


def read_moment(text: str, now: float) -> float:
    """Seconds since the epoch of `10m` (ago), `2026-11-24`, `2026-11-24T08:00:00Z`, `1764000000.5`. Raises Refused.

    A time without a zone is local, as journalctl and Docker have it.
    """
    from schemas.units import read_seconds

    if text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        return now - read_seconds(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        hint = "write how long ago (10m, 1h30m) or when (2026-11-24T08:00:00Z)"
        raise Refused(f"{text!r} is no time", hint=hint) from None
