"""Whether and when a process that ended is started again: Docker's restart policies, with a growing delay.

Pure: time is an argument. Called by the loop for each container whose process has ended; a start that somebody asked
for (an apply, another manifest) needs no policy. The first repair comes at once, the second after `delay`, and each
further one twice as late as the one before, at most `max_delay`; who ran for `window` begins anew.

Source: Docker, "Restart policies"; Compose Specification, deploy, restart_policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

DELAY, MAX_DELAY, WINDOW = 0.1, 60.0, 10.0
"""Seconds: Docker's own, but for the first delay, which is none."""
SKEW = 1.0
"""Seconds that an end may lie ahead of the moment of the look."""


class Condition(StrEnum):
    NO = "no"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"
    ON_FAILURE = "on-failure"


@dataclass(frozen=True, slots=True)
class Policy:
    """`max_attempts`: starts in a row that failed before it is given up, None for no end. Times in seconds."""

    condition: Condition = Condition.NO
    max_attempts: int | None = None
    delay: float = DELAY
    max_delay: float = MAX_DELAY
    window: float = WINDOW


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: `exit_code` None where nobody learned it, `error` where its program never began.

    `started_at` and `finished_at` in seconds since the epoch. `measured`: seconds between them by a clock that nobody
    sets, where somebody measured them.
    """

    exit_code: int | None
    started_at: float | None = None
    finished_at: float | None = None
    error: str = ""
    measured: float | None = None

    @property
    def failed(self) -> bool:
        return self.exit_code != 0 or bool(self.error)

    @property
    def ran(self) -> float:
        """Seconds; 0 where that is not known, or was not measured and the clock was set back meanwhile."""
        if self.measured is not None:
            return self.measured
        if self.started_at is None or self.finished_at is None:
            return 0.0
        return max(0.0, self.finished_at - self.started_at)


@dataclass(frozen=True, slots=True)
class Restarts:
    """What is remembered of one container: starts by its policy in a row, none of which lasted."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """`at`: when it is started again, in seconds since the epoch; None: it stays as it is. `restarts`: how often in a
    row it will then have been. `reason`: in words."""

    at: float | None
    restarts: Restarts
    reason: str

    def is_due(self, now: float) -> bool:
        return self.at is not None and self.at <= now


def policy_of(spec: Mapping[str, Any]) -> Policy:
    """From a container's recorded fields: `restart`, `restart_policy`."""
    word, _, most = str(spec.get("restart") or "no").partition(":")
    told = spec.get("restart_policy") or {}
    attempts = told.get("max_attempts") or (int(most) if most else None)
    return Policy(
        Condition(word),
        attempts if word != Condition.NO else None,
        _seconds(told.get("delay"), DELAY),
        _seconds(told.get("max_delay"), MAX_DELAY),
        _seconds(told.get("window"), WINDOW),
    )


def _seconds(value: Any, default: float) -> float:
    return default if value is None else float(value)


def decide(policy: Policy, ended: Ended, restarts: Restarts, now: float) -> Decision:
    """What becomes of a container whose process ended so, after so many restarts in a row."""
    if policy.condition is Condition.NO:
        return Decision(None, restarts, "its restart policy is no")
    if policy.condition is Condition.ON_FAILURE and not ended.failed:
        return Decision(None, Restarts(), "its work is done")

    count = 0 if ended.ran >= policy.window else restarts.count
    if policy.max_attempts is not None and count >= policy.max_attempts:
        return Decision(None, restarts, f"gave up after {count} restarts in a row")
    wait = delay(policy, count)
    since = ended.finished_at if ended.finished_at is not None else now
    # an end to come: the clock was set back, and counted from now at each look the delay would never be over
    at = min(since, now) + wait if since <= now + SKEW else now
    return Decision(at, Restarts(count + 1), _told(policy, count, wait))


def delay(policy: Policy, count: int) -> float:
    """Seconds from the end to the start, after `count` restarts in a row."""
    if count == 0 or policy.delay == 0:
        return 0.0
    # 2**1000 is an integer that no float holds: bounded before it is multiplied
    return min(policy.max_delay, policy.delay * 2.0 ** min(count - 1, 64))


def _told(policy: Policy, count: int, wait: float) -> str:
    if count == 0:
        return f"restart: {policy.condition}"
    of = f" of {policy.max_attempts}" if policy.max_attempts is not None else ""
    return f"restart: {policy.condition}, attempt {count + 1}{of} after {wait:g} s"
