"""What a Container manifest may say, and the part of it that a Service repeats.

The fields stand in chapters of their own: process, network, storage, security, limits, lifecycle. Here they are put
together, and checked against each other where two chapters meet.

Source: Compose Specification, services.
"""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import model_validator

from schemas.faults import Fault, refuse
from schemas.field import live
from schemas.lifecycle_fields import LifecycleFields
from schemas.limits import LimitFields
from schemas.mount_targets import is_below, objection
from schemas.network_fields import NetworkFields
from schemas.plain_types import one_of
from schemas.process_fields import ProcessFields
from schemas.security_fields import SecurityFields
from schemas.storage_fields import StorageFields

ANSWER = "write rslave, or userns_mode: host"
State = Annotated[str, one_of("running", "stopped", "paused", "created")]


class ContainerTemplate(
    LimitFields, SecurityFields, StorageFields, LifecycleFields, NetworkFields, ProcessFields
):  # pydantic lists the fields of the last base first
    """The fields that a container and each replica of a service have in common."""

    @model_validator(mode="after")
    def _chapters_agree(self) -> Self:
        refuse("container", template_faults(self))
        return self


class ContainerSpec(ContainerTemplate):
    """One container: an image's process in namespaces of its own."""

    state: Annotated[State, live("What it is kept in: running, stopped, paused or only created.")] = "running"


def template_faults(spec: ContainerTemplate) -> list[Fault]:
    """Fields of two chapters that contradict each other."""
    faults: list[Fault] = []
    if spec.network_mode == "host" and any(name.startswith(("net.", "net/")) for name in spec.sysctls):
        faults.append((("sysctls",), "would change the host's network with network_mode: host; leave one of them out"))
    if spec.uts == "host" and (spec.hostname or spec.domainname):
        faults.append((("hostname",), "would rename the host with uts: host; leave one of them out"))
    if spec.shm_size is not None and spec.ipc and spec.ipc not in ("private", "shareable"):
        faults.append((("shm_size",), f"has no /dev/shm of its own with ipc: {spec.ipc}; leave one of them out"))
    if spec.userns_mode != "host" and not spec.privileged:
        faults += [
            (("volumes", index, "bind", "propagation"), f"{shared} would need the host's user namespace; {ANSWER}")
            for index, mount in enumerate(spec.volumes)
            if mount.bind is not None and (shared := mount.bind.propagation) in ("shared", "rshared")
        ]
    return [*faults, *covered_faults(spec)]


def covered_faults(spec: ContainerTemplate) -> Iterator[Fault]:
    """What would be mounted over paths that the engine itself fills."""
    for field in ("volumes", "tmpfs", "secrets", "configs"):
        for index, entry in enumerate(getattr(spec, field)):
            read_only = getattr(entry, "read_only", True)
            if said := objection(entry.target, read_only=read_only, privileged=spec.privileged):
                yield (field, index), said
    for index, device in enumerate(spec.devices):
        if is_below(device.target, "/proc") or is_below(device.target, "/sys"):
            yield ("devices", index), f"{device.target} belongs to the kernel; name a path below /dev"
