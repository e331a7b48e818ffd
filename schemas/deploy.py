"""How a service is spread: replicas, its one address, how updates roll, what each replica may use.

Source: Compose Specification, deploy.
"""

from typing import Annotated, Any

from schemas.field import Spec, live, part
from schemas.limits import Cpus, Memory, Pids
from schemas.plain_types import Labels, Ratio, Seconds, one_of, read_text, whole
from schemas.restart_pacing import RestartPacing
from schemas.spelling import Spelling

Count = Annotated[int, whole(0, 10_000)]


def read_mode(value: Any) -> str:
    """Compose, deploy, mode. Raises ValueError with the remedy."""
    text = read_text(value)
    if text == "global":
        raise ValueError("global spreads over machines, and this engine has one; write replicated, with replicas: 1")
    if text != "replicated":
        raise ValueError(f"{text!r} is not known here; write replicated")
    return text


ReplicationMode = Annotated[str, Spelling(read_mode, "one of replicated", {"const": "replicated"}, final=True)]
Order = Annotated[str, one_of("stop-first", "start-first")]

MONITOR_SECONDS = 5.0
"""Docker's."""


class UpdateConfig(Spec):
    """How replicas are replaced when the service changes: a few at a time, each watched until it is well."""

    parallelism: Annotated[Count, part("Replicas that are being replaced at a time; 0 is all.")] = 1
    delay: Annotated[
        Seconds, part("Time between the last replica that was well and the next.", unit="seconds", default="0s")
    ] = 0.0
    failure_action: Annotated[
        Annotated[str, one_of("pause", "continue", "rollback")],
        part("When too many new replicas fail: stop there, go on, or put those that were well before back."),
    ] = "pause"
    monitor: Annotated[
        Seconds, part("Time a new replica must be ready, before it counts as well.", unit="seconds", default="5s")
    ] = MONITOR_SECONDS
    max_failure_ratio: Annotated[Ratio, part("Share of the replicas that may fail.", default="0")] = 0.0
    order: Annotated[
        Order, part("`stop-first`: one less meanwhile; `start-first`: others are started first, and none is missed.")
    ] = "stop-first"


class RollbackConfig(UpdateConfig):
    """How replicas are taken back when an update fails."""

    failure_action: Annotated[
        Annotated[str, one_of("pause", "continue")], part("When too many of them fail: stop there, or go on.")
    ] = "pause"


class RestartConfig(RestartPacing):
    """When a replica is started again after it ended."""

    condition: Annotated[
        Annotated[str, one_of("any", "on-failure", "none")], part("After any end, after a failure, or never.")
    ] = "any"


class Limits(Spec):
    """The most that each replica may use."""

    cpus: Annotated[Cpus, part("Processors.", default="no limit")] = None
    memory: Annotated[Memory, part("Memory.", unit="bytes", default="no limit")] = None
    pids: Annotated[Pids | None, part("Processes and threads.", default="4096")] = None


class Reservations(Spec):
    """What each replica can count on."""

    cpus: Annotated[Cpus, part("Processors, as a weight when all are busy.", default="none")] = None
    memory: Annotated[Memory, part("Memory it keeps when the host runs short.", unit="bytes", default="none")] = None


class Resources(Spec):
    """What each replica may use, and can count on."""

    limits: Annotated[Limits, part("The most that each replica may use.")] = Limits.model_construct()
    reservations: Annotated[Reservations, part("What each replica can count on.")] = Reservations.model_construct()


class Deploy(Spec):
    """How a service is spread over replicas."""

    mode: Annotated[ReplicationMode, live("`replicated`: as many as replicas says.")] = "replicated"
    replicas: Annotated[Count, live("Containers kept running.")] = 1
    endpoint_mode: Annotated[
        Annotated[str, one_of("vip", "dnsrr")],
        live("`vip`: one address, balanced by the kernel; `dnsrr`: the name gives every replica's address."),
    ] = "vip"
    labels: Annotated[Labels, live("Notes on the service, not on its containers.")] = {}
    update_config: Annotated[UpdateConfig | None, live("How replicas are replaced.", default="all at once")] = None
    rollback_config: Annotated[RollbackConfig | None, live("How replicas are taken back.", default="one at a time")] = (
        None
    )
    restart_policy: Annotated[RestartConfig | None, live("When a replica is started again.", default="restart")] = None
    resources: Annotated[Resources, live("What each replica may use.")] = Resources.model_construct()
