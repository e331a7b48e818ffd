"""A container's health, from one check to the next: Docker's state machine, and what follows when it is unhealthy.

Pure: time is an argument. Called by the loop with each result, and by an apply that waits for `service_healthy`. The
checks themselves are made in `probes/`.

Source: Docker, HEALTHCHECK; Compose Specification, services, healthcheck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

NANOSECONDS = 1_000_000_000
FLAP_LIMIT, FLAP_SECONDS = 5, 600.0


class HealthStatus(StrEnum):
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Check:
    """What is asked (`kind` and its `words`: a command, or the fields of a probe) and how often. Times in seconds."""

    kind: str
    words: Sequence[str] | Mapping[str, Any]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float = 5.0
    on_unhealthy: str = "none"
    flap_limit: int = FLAP_LIMIT


@dataclass(frozen=True, slots=True)
class Result:
    """What one check said. `began`: by time.monotonic, which nobody sets, as all moments of health are but `acted`."""

    ok: bool
    output: str
    began: float


@dataclass(frozen=True, slots=True)
class Health:
    """`streak`: failures in a row that count. `started_at`: of the process, by time.monotonic."""

    status: HealthStatus
    started_at: float
    streak: int = 0
    output: str = ""


def check_of(spec: Mapping[str, Any], image: Mapping[str, Any] | None) -> Check | None:
    """From a container's recorded fields and its image's `Healthcheck` (times in nanoseconds); None for no check."""
    told = spec.get("healthcheck") or {}
    inherited = image or {}
    kind, words = _asked(told, inherited.get("test") or ())
    if kind in ("", "NONE"):
        return None
    return Check(
        kind,
        words,
        interval=_first(told.get("interval"), _seconds(inherited.get("interval")), 30.0),
        timeout=_first(told.get("timeout"), _seconds(inherited.get("timeout")), 30.0),
        retries=int(_first(told.get("retries"), inherited.get("retries"), 3)),
        start_period=_first(told.get("start_period"), _seconds(inherited.get("start_period")), 0.0),
        start_interval=_first(told.get("start_interval"), _seconds(inherited.get("start_interval")), 5.0),
        on_unhealthy=told.get("on_unhealthy") or "none",
        flap_limit=int(told.get("flap_limit") or FLAP_LIMIT),
    )


def _asked(told: Mapping[str, Any], inherited: Sequence[str]) -> tuple[str, Sequence[str] | Mapping[str, Any]]:
    if told.get("disable"):
        return "NONE", ()
    for kind in ("http", "tcp", "grpc"):
        if told.get(kind):
            return kind, told[kind]
    words = tuple(told.get("test") or inherited)
    return (words[0], words[1:]) if words else ("", ())


def _seconds(nanoseconds: int | None) -> float | None:
    return nanoseconds / NANOSECONDS if nanoseconds else None


def _first(*values: Any) -> Any:
    """The first that says something."""
    return next((value for value in values if value), values[-1])


def moment_of_start(started_at: float | None, wall: float, age: float, now: float) -> float:
    """When a process was started, by the clock of `now`. `started_at` and `wall`, the present, are the wall clock's,
    which may have been set meanwhile: then its `age` says at most how long ago, and a start to come is now."""
    since = wall - started_at if started_at is not None else 0.0
    return now - max(0.0, min(since, age))


def begin(started_at: float) -> Health:
    """Of a process that was started then."""
    return Health(HealthStatus.STARTING, started_at)


def after(check: Check, health: Health, result: Result) -> Health:
    """The health once that result is in. A failure within the start period counts for nothing until one succeeded."""
    if result.ok:
        return replace(health, status=HealthStatus.HEALTHY, streak=0, output=result.output)
    if health.status is HealthStatus.STARTING and result.began - health.started_at < check.start_period:
        return replace(health, output=result.output)
    streak = health.streak + 1
    status = HealthStatus.UNHEALTHY if streak >= check.retries else health.status
    return replace(health, status=status, streak=streak, output=result.output)


def pause(check: Check, health: Health, now: float) -> float:
    """Seconds from the end of one check, or the start of the process, to the next check."""
    starting = health.status is HealthStatus.STARTING and now - health.started_at < check.start_period
    return check.start_interval if starting else check.interval


def may_act(check: Check, acted: Sequence[float], now: float) -> bool:
    """Whether an unhealthy container is restarted or replaced once more, after it was at the moments `acted`."""
    if check.on_unhealthy == "none":
        return False
    return sum(1 for at in acted if 0 <= now - at < FLAP_SECONDS) < check.flap_limit
