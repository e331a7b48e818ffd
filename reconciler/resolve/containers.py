"""One container as desired: its fields, and the facts that follow from them and from what was handed out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.desired import Desired
from reconciler.kinds.endpoints import Families, endpoint_facts, name_facts, port_facts
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.limits import resources
from reconciler.resolve.allot import AUTOMATIC_PORTS, Allotment, allot_addresses, allot_ids, allot_port
from reconciler.resolve.expand import Instance, attached_networks
from reconciler.resolve.world import World
from schemas.container import ContainerSpec
from schemas.names import Key, Kind
from schemas.port import PublishedPort

JOINING = ("network_mode", "pid", "ipc")


def desire(instance: Instance, world: World, allotment: Allotment) -> Desired:
    spec = instance.spec
    networks = attached_networks(spec)
    given = addresses(instance, networks, world, allotment)
    joins = joined_containers(spec)
    facts: dict[str, Any] = {
        "bundle": "present",
        "process": spec.state,
        "limits": resources(spec),
        "other_limits": "none",
        "mounts": dict.fromkeys((mount.target for mount in spec.mounts), "mounted"),
        "endpoints": endpoint_facts(spec, networks, given, allotment.pools),
        "published": published(instance, given, world, allotment),
        "names": name_facts((instance.key.name, *instance.shared_names), spec, networks, given),
    }
    if owns_user_namespace(spec) and not joins:
        facts["user_namespace"] = allot_ids(instance, world, allotment)
    return Desired(
        instance.key,
        fields=_fields(instance, world),
        facts=facts,
        needs=tuple(sorted(_needs(instance, networks))),
        joins=joins,
        owner=instance.owner,
        declared=instance.declared,
    )


def _fields(instance: Instance, world: World) -> dict[str, Any]:
    made: dict[str, Any] = {
        "metadata": metadata_fields(instance.declared.metadata),
        "spec": spec_fields(instance.spec, without={"deploy", "ports"} if instance.owner else None),
    }
    if instance.spec.env_file:
        made["env_file"] = dict(world.environments.get(instance.declared.key, {}))
    return made


def owns_user_namespace(spec: ContainerSpec) -> bool:
    return spec.userns_mode != "host" and not spec.privileged


def addresses(instance: Instance, networks: list[str], world: World, allotment: Allotment) -> dict[str, Families]:
    found: dict[str, Families] = {}
    for network in networks:
        attachment = instance.spec.networks.get(network)
        fixed = {4: attachment.ipv4_address, 6: attachment.ipv6_address} if attachment else {}
        found[network] = allot_addresses(instance.key.name, network, fixed, world, allotment)
    return found


def published(instance: Instance, given: Mapping[str, Families], world: World, allotment: Allotment) -> dict[str, str]:
    """The container's own ports; those a Service balances belong to the Service."""
    first = next(iter(given.values()), {})
    found: dict[str, str] = {}
    for number, port in enumerate(instance.spec.ports):
        if instance.owner is not None and port.mode == "ingress":
            continue
        chosen = host_port(port, f"{instance.key.name}/{number}", world, allotment)
        found |= port_facts(port.host_ip, port.protocol, chosen, port.target, first)
    return found


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
    peer, _, name = (mode or "").partition(":")
    if peer == "container":
        return Key(Kind.CONTAINER, name)
    if peer == "service":
        return Key(Kind.CONTAINER, f"{name}-1")
    return None


def _needs(instance: Instance, networks: list[str]) -> set[Key]:
    spec = instance.spec
    found = {instance.image} | {Key(Kind.NETWORK, name) for name in networks}
    found |= {Key(Kind.VOLUME, m.source) for m in spec.volumes if m.type == "volume" and m.source}
    found |= {Key(Kind.SECRET, grant.source) for grant in spec.secrets}
    found |= {Key(Kind.CONFIG, grant.source) for grant in spec.configs}
    found |= {Key(kind, name) for name in spec.depends_on for kind in (Kind.CONTAINER, Kind.SERVICE)}
    return found | joined_containers(spec)
