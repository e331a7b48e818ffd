"""One container as desired: its fields, and the facts that follow from them and from what was handed out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.desired import Desired
from reconciler.kinds.endpoints import (
    Joined,
    asks_within,
    endpoint_facts,
    host_addresses,
    name_facts,
    port_facts,
    ways_out,
)
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.limits import resources
from reconciler.resolve.allot import (
    AUTOMATIC_PORTS,
    Allotment,
    allot_addresses,
    allot_ids,
    allot_interfaces,
    allot_port,
)
from reconciler.resolve.expand import Instance, attached_networks
from reconciler.resolve.world import World
from schemas.container import ContainerSpec, ContainerTemplate
from schemas.envelope import Declared
from schemas.errors import Invalid
from schemas.names import Key, Kind
from schemas.port import PublishedPort

JOINING = ("network_mode", "pid", "ipc")


def desire(instance: Instance, world: World, allotment: Allotment) -> Desired:
    """A container, or a replica, with addresses, ports and ids allotted."""
    spec = instance.spec
    attached = joined_networks(instance, world, allotment)
    joins = joined_containers(spec)
    facts: dict[str, Any] = {
        "bundle": "present",
        "process": spec.state,
        "monitor": "present",
        "limits": resources(spec, world.devices, world.swap_accounting),
        "other_limits": "none",
        "mounts": dict.fromkeys((mount.target for mount in spec.mounts), "mounted"),
        "endpoints": endpoint_facts(spec, attached),
        "other_endpoints": "none",
        "published": published(instance, attached, world, allotment),
        "names": name_facts((instance.key.name, *instance.shared_names), _service(instance), spec, attached),
    }
    if asks_within(attached):
        facts["resolver"] = "answering"
    if spec.oom_score_adj is not None:
        facts["oom_score_adj"] = spec.oom_score_adj
    if owns_user_namespace(spec) and not joins:
        facts["user_namespace"] = allot_ids(instance, world, allotment)
    return Desired(
        instance.key,
        fields=_fields(instance, world),
        facts=facts,
        needs=tuple(sorted(_needs(instance, attached))),
        optional=_optional(spec),
        joins=joins,
        owner=instance.owner,
        declared=instance.declared,
    )


def _service(instance: Instance) -> str | None:
    return instance.owner.name if instance.owner is not None else None


def _fields(instance: Instance, world: World) -> dict[str, Any]:
    made: dict[str, Any] = {
        "metadata": metadata_fields(instance.declared.metadata),
        "spec": spec_fields(instance.spec, without={"deploy", "ports"} if instance.owner else None),
    }
    if instance.spec.env_file:
        made["env_file"] = dict(world.environments.get(instance.declared.key, {}))
    return made


def owns_user_namespace(spec: ContainerSpec) -> bool:
    """The default: the manifest did not ask for the host's, or for everything."""
    return spec.userns_mode != "host" and not spec.privileged


def joined_networks(instance: Instance, world: World, allotment: Allotment) -> list[Joined]:
    """The networks it is attached to, with its addresses and the names of its links."""
    networks = attached_networks(instance.spec)
    interfaces = allot_interfaces(instance, networks, world, allotment)
    found = []
    for network in networks:
        attachment = instance.spec.networks.get(network)
        fixed = {4: attachment.ipv4_address, 6: attachment.ipv6_address} if attachment else {}
        given = allot_addresses(instance.key.name, network, fixed, world, allotment)
        found.append(Joined(network, allotment.networks[network], allotment.pools[network], given, interfaces[network]))
    return found


def published(instance: Instance, attached: Sequence[Joined], world: World, allotment: Allotment) -> dict[str, str]:
    """The container's own ports; those a Service balances belong to it. Raises Invalid for what nobody could reach."""
    out = ways_out(instance.spec, attached)
    found: dict[str, str] = {}
    for number, port in enumerate(instance.spec.ports):
        if instance.owner is not None and port.mode == "ingress":
            continue
        refuse_unreachable(instance.declared, number, port, list(out.values()))
        chosen = host_port(port, f"{instance.key.name}/{number}", world, allotment)
        found |= port_facts(port.host_ip, port.protocol, chosen, port.target, out)
    return found


def refuse_unreachable(item: Declared, number: int, port: PublishedPort, out: Sequence[Joined]) -> None:
    """A port that nothing outside could reach is told, not dropped. Raises Invalid."""
    path = ("spec", "ports", number)
    other = next((each for each in out if each.spec.driver != "bridge"), None)
    by_family = {family: each for each in out for family in each.given}
    if not out:
        message, remedy = "cannot be published: all its networks are internal", "attach it to one that is not"
    elif other is not None:
        message = f"cannot be published: its default route goes by the network {other.name}, a {other.spec.driver}"
        remedy = "it is reached at its own address; or give a bridge the highest gw_priority"
    elif not host_addresses(port.host_ip, by_family):
        message = f"cannot be published at {port.host_ip}: it has no address of that family"
        remedy = "write another host_ip, or give its network a subnet of that family"
    else:
        return
    raise Invalid([item.problem(path, message, remedy)])


def host_port(port: PublishedPort, owner: str, world: World, allotment: Allotment) -> int:
    """The one port written, or a free one of the range, or any free one; kept once chosen."""
    if port.published is not None and port.published.count == 1:
        return port.published.first
    choices = AUTOMATIC_PORTS if port.published is None else port.published.ports
    return allot_port(owner, port.protocol, choices, world, allotment)


def joined_containers(spec: ContainerSpec) -> frozenset[Key]:
    """Containers whose namespaces it enters: `container:NAME`, and the first replica for `service:NAME`."""
    return frozenset(key for field in JOINING if (key := joined(getattr(spec, field))) is not None)


def joined(mode: str | None) -> Key | None:
    """The container that `container:NAME` or `service:NAME` (its first replica) means; None for another mode."""
    peer, _, name = (mode or "").partition(":")
    if peer == "container":
        return Key(Kind.CONTAINER, name)
    if peer == "service":
        return Key(Kind.CONTAINER, f"{name}-1")
    return None


def _needs(instance: Instance, attached: Sequence[Joined]) -> set[Key]:
    spec = instance.spec
    found = {instance.image, *instance.mounted_images.values()}
    found |= {Key(Kind.NETWORK, each.name) for each in attached}
    found |= {Key(Kind.VOLUME, m.source) for m in spec.volumes if m.type == "volume" and m.source}
    found |= {Key(Kind.SECRET, grant.source) for grant in spec.secrets}
    found |= {Key(Kind.CONFIG, grant.source) for grant in spec.configs}
    found |= {key for name in spec.depends_on for key in _called(name)}
    return found | joined_containers(spec)


def _called(name: str) -> tuple[Key, Key]:
    """A name in `depends_on` is that of a container or of a service."""
    return Key(Kind.CONTAINER, name), Key(Kind.SERVICE, name)


def _optional(spec: ContainerTemplate) -> frozenset[Key]:
    """Dependencies that may fail."""
    return frozenset(key for name, each in spec.depends_on.items() if not each.required for key in _called(name))
