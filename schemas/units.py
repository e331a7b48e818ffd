"""Sizes, durations, processors and file modes, as the Compose Specification spells them.

Pure functions on plain values, standard library only: `read_*` gives the canonical number of any spelling or raises
ValueError saying what to write instead. Called by the spec models and by whoever reads such a value elsewhere.

Source: Compose Specification, Extension, sections "Specifying byte values" and "Specifying durations".
"""

from __future__ import annotations

import math
import re
from typing import Any

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h|d|w))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w)")
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
    "w": 7 * 86400 * 10**9,
}
LARGEST = 2**63 - 1
"""The most bytes the kernel's 64-bit signed counters hold."""
LONGEST = 100 * 365 * 86400.0
"""Seconds in a hundred years: a longer wait is a mistake, and overflows the kernel's timers."""

SIZE_PATTERN = r"[0-9]+(\.[0-9]+)? ?[kKmMgGtTpP]?([iI]?[bB])?"
DURATION_PATTERN = r"([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d|w))+|[0-9]+(\.[0-9]+)?"
MODE_PATTERN = r"0?o?[0-7]{1,4}"


def is_number(value: Any) -> bool:
    """A number and no boolean, which Python counts among the integers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_bytes(value: Any) -> int:
    """`64m` -> 67108864. k, m, g, t, p are powers of 1024, as in Docker; a plain number counts bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _bounded(int(value), value)
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no size; write a number of bytes, or a unit as in 512k, 64m, 1.5g")
    amount, unit = match.groups()
    scale = 1 << _SHIFT[unit.lower()]
    if "." not in amount:
        return _bounded(int(amount[:30]) * scale, value)
    return _bounded(int(float(amount[:30]) * scale), value)


def _bounded(size: int, value: Any) -> int:
    if not 0 <= size <= LARGEST:
        raise ValueError(f"{value!r} is out of range; write a size from 0 to 8 exbibytes")
    return size


def read_seconds(value: Any) -> float:
    """`1m30s` -> 90.0. A plain number counts seconds."""
    if is_number(value):
        seconds = float(value) if abs(value) <= LONGEST else math.inf
    elif isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        seconds = sum(_nanoseconds(*part) for part in _PART.findall(value)) / 10**9
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", value.strip()):
        seconds = float(value)
    else:
        raise ValueError(f"{value!r} is no duration; write it with units, as in 500ms, 10s, 1m30s")
    if not 0 <= seconds <= LONGEST:
        raise ValueError(f"{value!r} is out of range; write a duration from 0s to 100 years")
    return seconds


def _nanoseconds(amount: str, unit: str) -> int:
    if "." not in amount:
        return int(amount[:30]) * _NANOSECONDS[unit]
    return round(float(amount[:30]) * _NANOSECONDS[unit])


def read_microseconds(value: Any) -> int:
    """`100ms` -> 100000. A plain number counts microseconds, as the scheduler's files do."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,15}", value.strip()):
        return int(value)
    if isinstance(value, str):
        return round(read_seconds(value) * 10**6)
    raise ValueError(f"{value!r} is no time; write microseconds, as 50000, or a duration, as 50ms")


def read_cpus(value: Any) -> float | None:
    """`"0.5"` -> 0.5. None for 0, which in Compose means no limit."""
    try:
        cpus = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        cpus = math.nan
    if math.isnan(cpus):
        raise ValueError(f"{value!r} is no number of processors; write a number, as in 0.5 or 2")
    if cpus == 0:
        return None
    if not 0.01 <= cpus <= 8192:
        raise ValueError(f"{value!r} processors cannot be had; write 0.01 to 8192, or 0 for no limit")
    return cpus


def read_mode(value: Any) -> int:
    """`"0440"`, `0o440` -> 288. A bare `440` is refused: it is not octal in YAML, and rarely meant as decimal."""
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    digits = text.removeprefix("0o").removeprefix("0O")
    if not re.fullmatch(r"[0-7]{1,5}", digits):
        raise ValueError(f'{value!r} is no file mode; write it octal and quoted, as in "0440"')
    if isinstance(value, int) and text[0] != "0":
        raise ValueError(f'{text} could be octal or decimal; write it octal and quoted, as in "0{text}"')
    mode = int(digits, 8)
    if mode > 0o7777:
        raise ValueError(f'{text} is no file mode; write three or four octal digits, as in "0440"')
    return mode


def format_mode(mode: int) -> str:
    """288 -> `0440`."""
    return f"{mode:04o}"
