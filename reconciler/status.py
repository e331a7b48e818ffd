"""How an object stands, in the words of other tools: conditions, sync, health. Pure.

Conditions are Kubernetes' (kstatus): Ready, Reconciling, Stalled, and Healthy for what a health check says. Sync and
health are Argo's: whether the machine is as the manifests say, and whether what runs is well. Made by the loop for the
store, and by `wait` and `describe` from what they see themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any


class Sync(StrEnum):
    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    UNKNOWN = "Unknown"


class Health(StrEnum):
    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    SUSPENDED = "Suspended"
    MISSING = "Missing"
    UNKNOWN = "Unknown"


WORST_FIRST = (
    *(Health.DEGRADED, Health.MISSING, Health.UNKNOWN, Health.PROGRESSING, Health.SUSPENDED),
    Health.HEALTHY,
)
ROLLED_BACK, ROLLOUT_PAUSED = "RolledBack", "RolloutPaused"
RUNNING = ("running", "created", "paused")


@dataclass(frozen=True, slots=True)
class Condition:
    """`status`: True, False, Unknown. `since`: when it last became that, in seconds since the epoch."""

    type: str
    status: str
    reason: str
    message: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Status:
    """`observed_generation`: of the manifest that was looked at last, as Kubernetes has it; 0 where nobody has yet. All
    the rest is said of that one."""

    conditions: tuple[Condition, ...]
    generation: int
    observed_generation: int
    sync: Sync
    health: Health

    def condition(self, type: str) -> Condition:
        return next(each for each in self.conditions if each.type == type)

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "conditions": [asdict(each) for each in self.conditions],
            "generation": self.generation,
            "observed_generation": self.observed_generation,
            "sync": self.sync.value,
            "health": self.health.value,
        }


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of one object.

    `differences`: in words, what is to be done about it and is not done; `stray`: who asked for something else than
    the source of its set does. `process` and `wanted_process`: of a container, as observed and desired. `probed`: what
    its health check said last, empty for none. `failure`: the last error, which is tried again unless `refused`.
    `held`: why nothing is done. `waits`: when its policy starts it again, in words; `given_up`: why it never does.
    `rolling`: how far a Service's rollout is, or that a replica waits for its turn; `halted`: why a rollout goes no
    further.
    """

    generation: int = 1
    observed_generation: int = 1
    exists: bool = True
    differences: tuple[str, ...] = ()
    stray: str = ""
    process: str | None = None
    wanted_process: str | None = None
    probed: str = ""
    failure: str = ""
    refused: bool = False
    held: str = ""
    suspended: bool = False
    waits: str = ""
    given_up: str = ""
    rolling: str = ""
    halted: str = ""


def status_of(found: Situation, now: float, before: Status | None = None) -> Status:
    """`before` keeps the moments of conditions that stay as they are."""
    conditions = (_ready(found), _reconciling(found), _stalled(found), _healthy(found))
    return Status(
        tuple(_since(each, before, now) for each in conditions),
        found.generation,
        found.observed_generation,
        _sync(found),
        _health(found),
    )


def _since(condition: Condition, before: Status | None, now: float) -> Condition:
    known = next((c for c in before.conditions if c.type == condition.type), None) if before is not None else None
    same = known is not None and known.status == condition.status
    return replace(condition, since=known.since if known is not None and same else now)


def _sync(found: Situation) -> Sync:
    amiss = found.differences or not found.exists or found.failure or found.rolling or found.halted or found.stray
    return Sync.OUT_OF_SYNC if amiss else Sync.SYNCED


def _health(found: Situation) -> Health:
    if found.suspended or found.wanted_process in ("stopped", "paused"):
        return Health.SUSPENDED
    if found.failure:
        return Health.DEGRADED if found.refused or found.exists else Health.MISSING
    if not found.exists:
        return Health.MISSING
    if found.wanted_process is not None and (why := _process_health(found)) is not None:
        return why
    if found.rolling and not found.halted:
        return Health.PROGRESSING
    return Health.DEGRADED if found.differences or found.halted else Health.HEALTHY


def _process_health(found: Situation) -> Health | None:
    if found.given_up:
        return Health.DEGRADED
    if found.waits:
        return Health.PROGRESSING
    if found.process in RUNNING:
        words = {"unhealthy": Health.DEGRADED, "starting": Health.PROGRESSING}
        return words.get(found.probed)
    if found.process == "completed":
        return None
    return Health.MISSING if found.process is None else Health.DEGRADED


def _ready(found: Situation) -> Condition:
    why = (
        found.failure
        or found.given_up
        or found.waits
        or found.halted
        or ("does not exist" if not found.exists else "")
        or ("; ".join(found.differences))
        or found.rolling
        or _unready(found)
    )
    if why:
        return Condition("Ready", "False", _reason(found), why)
    return Condition("Ready", "True", "AsDeclared")


def _unready(found: Situation) -> str:
    if found.wanted_process is None:
        return ""
    if found.process not in (found.wanted_process, "completed"):
        return f"is not {found.wanted_process}: {found.process or 'it has no process'}"
    return f"its health check says {found.probed}" if found.probed in ("unhealthy", "starting") else ""


def _reason(found: Situation) -> str:
    for reason, holds in (
        ("Suspended", found.suspended),
        ("Refused", bool(found.failure) and found.refused),
        ("Failed", bool(found.failure)),
        ("GivenUp", bool(found.given_up)),
        ("Waiting", bool(found.waits)),
        (ROLLED_BACK, found.halted.startswith("rolled back")),
        (ROLLOUT_PAUSED, bool(found.halted)),
        ("Missing", not found.exists),
        ("RollingOut", bool(found.rolling)),
        ("OutOfSync", bool(found.differences)),
        ("Unhealthy", found.probed == "unhealthy"),
        ("Starting", found.probed == "starting"),
    ):
        if holds:
            return reason
    return "Ended"


def _reconciling(found: Situation) -> Condition:
    if found.suspended or found.refused or found.given_up:
        return Condition("Reconciling", "False", "Nothing")
    if found.failure:
        return Condition("Reconciling", "True", "Retrying", found.failure)
    if found.waits:
        return Condition("Reconciling", "True", "Waiting", found.waits)
    if found.rolling:
        return Condition("Reconciling", "True", "RollingOut", found.rolling)
    if found.held:
        return Condition("Reconciling", "False", "Held", found.held)
    if found.halted:
        return Condition("Reconciling", "False", "Nothing")
    if found.differences or not found.exists:
        return Condition("Reconciling", "True", "Drift", "; ".join(found.differences))
    if found.stray:
        return Condition("Reconciling", "False", "ChangedByHand", found.stray)
    return Condition("Reconciling", "False", "Nothing")


def _stalled(found: Situation) -> Condition:
    if found.refused:
        return Condition("Stalled", "True", "Refused", found.failure)
    if found.given_up:
        return Condition("Stalled", "True", "GivenUp", found.given_up)
    if found.suspended:
        return Condition("Stalled", "True", "Suspended", found.held)
    if found.halted:
        return Condition("Stalled", "True", _reason(replace(found, failure="", waits="")), found.halted)
    return Condition("Stalled", "False", "Nothing")


def _healthy(found: Situation) -> Condition:
    match found.probed:
        case "healthy":
            return Condition("Healthy", "True", "Checked")
        case "unhealthy":
            return Condition("Healthy", "False", "Unhealthy")
        case "starting":
            return Condition("Healthy", "Unknown", "Starting")
        case _:
            return Condition("Healthy", "Unknown", "NoCheck")


def together(parts: Iterable[Status]) -> tuple[Sync, Health]:
    """Of a set, or of the engine: the worst of what belongs to it; an empty one is well."""
    found = list(parts)
    syncs = {each.sync for each in found}
    sync = next((each for each in (Sync.OUT_OF_SYNC, Sync.UNKNOWN) if each in syncs), Sync.SYNCED)
    healths = {each.health for each in found}
    return sync, next((each for each in WORST_FIRST if each in healths), Health.HEALTHY)


def read_status(value: Mapping[str, Any]) -> Status:
    """The inverse of `fields`."""
    return Status(
        tuple(Condition(**each) for each in value["conditions"]),
        value["generation"],
        value["observed_generation"],
        Sync(value["sync"]),
        Health(value["health"]),
    )
