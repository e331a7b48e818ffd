"""When a failed step is tried again: capped, growing, jittered; and what waits for a change instead.

Pure: time and chance are arguments. Called by the loop with each failed outcome. A refusal will not heal by itself, so
it is not tried again before the object, or something it depends on, has changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import Invalid, Refused

FIRST, CAP = 0.2, 60.0
"""Seconds."""
JITTER = 0.25
"""Share of the delay that chance takes away, so that what failed together does not come back together."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is remembered of an object that failed: how often in a row, with what words, and when it is tried again
    (None: after a change). Times in seconds of the clock that the caller uses."""

    count: int
    message: str
    at: float | None
    refused: bool = False


def after_failure(before: Failure | None, error: Exception, now: float, chance: float) -> Failure:
    """The next state after one more failure. `chance` is drawn evenly from [0, 1)."""
    count = before.count + 1 if before is not None else 1
    if is_final(error):
        return Failure(count, str(error), None, refused=True)
    return Failure(count, str(error), now + delay(count, chance))


def is_final(error: Exception) -> bool:
    """Whether it will not work until somebody changes something."""
    return isinstance(error, Refused | Invalid)


def delay(count: int, chance: float) -> float:
    """Seconds before the try that follows the `count`-th failure in a row."""
    full = min(CAP, FIRST * 2.0 ** min(count - 1, 64))
    return full * (1 - JITTER * chance)
