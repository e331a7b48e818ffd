"""How one object stands, in two words: its health, and its status for people. Pure; time is an argument.

Health is Kubernetes' and Argo's: Healthy, Progressing, Degraded, Suspended, Missing, Unknown. An object whose
machine side contradicts what was asked is Degraded, whatever its process does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.status import Health as Health
from schemas.names import Kind

if TYPE_CHECKING:
    from reconciler.cli.seen import Seen
    from reconciler.status import Status
    from runtime.process.records import ExitRecord, ProcessRecord


PROBED = {"unhealthy": Health.DEGRADED, "starting": Health.PROGRESSING}
"""What a health check's word makes of a container that runs."""


@dataclass(frozen=True, slots=True)
class Standing:
    """`next`: what becomes of it by itself, empty where nothing does."""

    health: Health
    status: str
    next: str = ""


def standing(seen: Seen, replicas: Mapping[str, Standing], now: float) -> Standing:
    """`replicas`: how a Service's containers stand, by name."""
    if seen.observed is None:
        return Standing(Health.MISSING, "not made yet")
    if seen.key.kind is Kind.CONTAINER:
        return _container(seen, now)
    if seen.key.kind is Kind.SERVICE:
        return _service(seen, replicas)
    if seen.key.kind is Kind.VOLUME and seen.record is None:
        return Standing(Health.HEALTHY, "kept")
    absent = {
        Kind.IMAGE: "content",
        Kind.VOLUME: "data",
        Kind.NETWORK: "link",
        Kind.SECRET: "content",
        Kind.CONFIG: "content",
    }
    if seen.facts and seen.facts.get(absent[seen.key.kind]) in (None, "missing"):
        return Standing(Health.MISSING, "missing")
    if seen.differences:
        return Standing(Health.DEGRADED, _first_difference(seen))
    return Standing(Health.HEALTHY, _well(seen))


def as_told(seen: Standing, told: Status) -> Standing:
    """What only the loop knows, before what can be seen: why an object is left alone, waited for or given up."""
    if told.health is Health.SUSPENDED and (held := told.condition("Stalled").message):
        return Standing(told.health, seen.status, f"left alone: {held}")
    return Standing(told.health, seen.status, told.condition("Ready").message)


def _well(seen: Seen) -> str:
    """What is said of an object that is as declared."""
    match seen.key.kind:
        case Kind.IMAGE:
            return "intact"
        case Kind.VOLUME:
            return "bound" if seen.users else "unused"
        case Kind.NETWORK:
            return "up" if seen.facts else "no link"
        case _:
            return "present"


def _first_difference(seen: Seen) -> str:
    first, *others = seen.differences
    return f"drift: {first.describe()}" + (f" and {len(others)} more" if others else "")


def _container(seen: Seen, now: float) -> Standing:
    process = seen.process
    if process is None:
        stopped = seen.spec.get("state") == "stopped"
        return Standing(Health.SUSPENDED, "stopped") if stopped else Standing(Health.MISSING, "no process")
    status = process_status(process, now)
    match process.phase.value:
        case "exited":
            return Standing(_ended(seen, process), status, _next_start(seen))
        case "paused":
            return Standing(Health.SUSPENDED, status)
        case "created":
            meant = seen.spec.get("state") == "created"
            return Standing(Health.SUSPENDED if meant else Health.PROGRESSING, status)
    if seen.differences:
        return Standing(Health.DEGRADED, f"{status}; {_first_difference(seen)}")
    if seen.probed is None:
        return Standing(Health.HEALTHY, status)
    return Standing(PROBED.get(seen.probed.value, Health.HEALTHY), f"{status} ({seen.probed.value})")


def _ended(seen: Seen, process: ProcessRecord) -> Health:
    if seen.spec.get("state") == "stopped":
        return Health.SUSPENDED
    return Health.DEGRADED if seen.differences or process.exit is None else Health.HEALTHY


def _next_start(seen: Seen) -> str:
    """Who starts it again, where its restart policy wants that: an apply looks once, and goes."""
    from reconciler.restart import Condition, policy_of

    policy = policy_of(seen.spec)
    if policy.condition is Condition.NO or not any(change.path[0] == "process" for change in seen.differences):
        return ""
    attempts = "" if policy.max_attempts is None else f" at most {policy.max_attempts} times in a row"
    return f"restarted by the daemon (`trimtab daemon`){attempts}, or by the next apply"


def process_status(process: ProcessRecord, now: float) -> str:
    """`running 3m12s`, `exited 1 2h5m ago (out of memory)`, `created`."""
    from reconciler.cli.quantities import age_text

    if process.phase.value != "exited":
        since = process.started_at or process.created_at
        return f"{process.phase.value} {age_text(now - since)}"
    ended = process.exit
    if ended is None or ended.exit_code is None:
        return "exited, nobody saw how"
    when = f" {age_text(now - ended.finished_at)} ago" if ended.finished_at else ""
    why = f" ({text})" if (text := exit_reason(ended)) else ""
    return f"exited {ended.exit_code}{when}{why}"


def exit_reason(ended: ExitRecord) -> str:
    """Beyond the exit code: out of memory, a signal, why it did not start."""
    import signal

    if ended.error:
        return ended.error
    if ended.oom_killed:
        return "out of memory" if ended.exit_code != 0 else "one of its processes out of memory"
    if not ended.signal:
        return ""
    names = {number.value: number.name for number in signal.Signals}
    return names.get(ended.signal, f"signal {ended.signal}")


def _service(seen: Seen, replicas: Mapping[str, Standing]) -> Standing:
    ready, wanted = readiness(seen, replicas)
    if wanted == 0:
        return Standing(Health.SUSPENDED, "no replicas wanted")
    if (rollout := seen.rollout) is not None and rollout.stalled:
        return Standing(Health.DEGRADED, rollout.stalled)
    if rollout is not None and rollout.under_way and ready:
        return Standing(Health.PROGRESSING, f"rolls out: {rollout.told}")
    if ready < wanted:
        return Standing(
            Health.DEGRADED if ready else Health.MISSING, f"{wanted - ready} of {wanted} replicas not ready"
        )
    if seen.differences:
        return Standing(Health.DEGRADED, _first_difference(seen))
    return Standing(Health.HEALTHY, "balanced" if seen.facts.get("balance") else "ready")


def readiness(seen: Seen, replicas: Mapping[str, Standing]) -> tuple[int, int]:
    """How many replicas run and are not unhealthy, of how many that are wanted."""
    wanted = int(seen.spec.get("deploy", {}).get("replicas", 1))
    names = [key.name for key in seen.replicas]
    return sum(1 for name in names if name in replicas and _is_ready(replicas[name])), wanted


def _is_ready(replica: Standing) -> bool:
    return replica.status.startswith("running") and not replica.status.endswith("(unhealthy)")
