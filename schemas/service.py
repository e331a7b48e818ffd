"""What a Service manifest may say: the fields of a container, and `deploy`.

`replica()` gives the container that each replica is, with `deploy.resources` and `deploy.restart_policy` where a
container has its own field for them. Names and addresses of replicas are the planner's.

Source: Compose Specification, services and deploy.
"""

from typing import Annotated, Any, Self

from pydantic import model_validator

from schemas.container import ContainerSpec, ContainerTemplate
from schemas.deploy import Deploy, RestartConfig
from schemas.faults import Fault, refuse
from schemas.field import live
from schemas.limits import limit_faults

LATER = ("restart", "restart_policy")
"""What `deploy` says and no limit depends on."""

SHARES_OF_ONE, LEAST_SHARES, MOST_SHARES = 1024, 2, 262_144
"""cpu.shares of one processor, and the kernel's bounds (scheduler/sched-design-CFS)."""


class ServiceSpec(ContainerTemplate):
    """Replicas of one container behind one name and one address."""

    deploy: Annotated[Deploy, live("How the service is spread over replicas.")] = Deploy.model_construct()

    def replica(self) -> ContainerSpec:
        """The container that each replica is."""
        fields = self.model_dump(exclude={"deploy"}) | from_deploy(self.deploy)
        if self.cpu_shares is None:
            fields["cpu_shares"] = shares_of(self.deploy.resources.reservations.cpus)
        return ContainerSpec.model_validate(fields)

    @model_validator(mode="after")
    def _deploy_agrees(self) -> Self:
        refuse("service", deploy_faults(self))
        return self


def from_deploy(deploy: Deploy) -> dict[str, Any]:
    """Fields of a container that `deploy` sets; those it does not say are left out."""
    limits, reservations = deploy.resources.limits, deploy.resources.reservations
    fields = {
        "cpus": limits.cpus,
        "mem_limit": limits.memory,
        "pids_limit": limits.pids,
        "mem_reservation": reservations.memory,
        "restart": restart_of(deploy.restart_policy),
        "restart_policy": pacing_of(deploy.restart_policy),
    }
    return {name: value for name, value in fields.items() if value is not None}


def shares_of(cpus: float | None) -> int | None:
    """A reserved number of processors as a weight: one is the kernel's default of 1024 shares."""
    return None if cpus is None else min(max(round(cpus * SHARES_OF_ONE), LEAST_SHARES), MOST_SHARES)


def restart_of(policy: RestartConfig | None) -> str | None:
    """The container's word for a service's policy; None for no policy."""
    if policy is None:
        return None
    if policy.condition == "on-failure" and policy.max_attempts:
        return f"on-failure:{policy.max_attempts}"
    return {"any": "always", "none": "no"}.get(policy.condition, policy.condition)


def pacing_of(policy: RestartConfig | None) -> dict[str, Any] | None:
    """The container's delays between restarts, of those that the service's policy says; None for none."""
    told = policy.model_dump(exclude={"condition"}, exclude_none=True) if policy is not None else {}
    return told or None


def deploy_faults(spec: ServiceSpec) -> list[Fault]:
    """What the container's fields and `deploy` say differently, and what replicas cannot share."""
    said = from_deploy(spec.deploy)
    faults: list[Fault] = [
        ((name,), "differs from what deploy says; keep one of them")
        for name in ("cpus", "mem_limit", "pids_limit", "mem_reservation")
        if name in said and getattr(spec, name) not in (None, said[name])
    ]
    if spec.deploy.replicas > 1:
        for name, attachment in spec.networks.items():
            faults += [
                (("networks", name, field), "is one address, and there are several replicas; leave it out")
                for field in ("ipv4_address", "ipv6_address", "mac_address")
                if getattr(attachment, field)
            ]
    faults += limit_faults(spec.model_copy(update={name: said[name] for name in said if name not in LATER}))
    return faults
