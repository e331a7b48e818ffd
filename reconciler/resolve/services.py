"""One Service as desired: its virtual addresses, the replicas behind them, its published ports and names. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.desired import Desired
from reconciler.kinds import service
from reconciler.kinds.endpoints import Joined, bare, host_addresses, join, ways_out
from reconciler.kinds.network import WIRED
from reconciler.resolve.allot import SERVICE_OWNER, Allotment, allot_addresses
from reconciler.resolve.containers import host_port, refuse_unreachable
from reconciler.resolve.expand import attached_networks, container_spec
from reconciler.resolve.world import World
from schemas.container import ContainerSpec
from schemas.envelope import Declared
from schemas.names import Key, Kind
from schemas.service import ServiceSpec


def desire(
    item: Declared,
    replicas: Sequence[Desired],
    world: World,
    allotment: Allotment,
    known: Mapping[Key, Declared],
) -> Desired:
    """A Service over its replicas: virtual addresses, ports, names."""
    spec = item.spec
    assert isinstance(spec, ServiceSpec)
    replica = container_spec(item, known)
    networks = attached_networks(replica)
    # on the wire of another link there is no bridge to answer for a virtual address: names lead to the replicas
    balanced = [name for name in networks if allotment.networks[name].driver not in WIRED]
    balance = {name: _balance(item, name, replicas, world, allotment) for name in balanced}
    for name, ports in _ports(item, replica, networks, world, allotment).items():
        balance[name]["ports"] = ports
    needs = {Key(Kind.NETWORK, name) for name in networks} | {replica.key for replica in replicas}
    return service.desire(item, tuple(sorted(needs)), balance, _names(item, balance))


def has_virtual_address(spec: ServiceSpec) -> bool:
    """`vip`, unlike `dnsrr`, where names lead to the replicas themselves."""
    return spec.deploy.endpoint_mode == "vip"


def _balance(
    item: Declared, network: str, replicas: Sequence[Desired], world: World, allotment: Allotment
) -> dict[str, Any]:
    spec = item.spec
    assert isinstance(spec, ServiceSpec)
    virtual: dict[int, str] = {}
    if has_virtual_address(spec):
        virtual = allot_addresses(f"{SERVICE_OWNER}{item.key.name}", network, {}, world, allotment)
    backends = {replica.key.name: replica.facts["names"].get(network, {}).get("addresses", []) for replica in replicas}
    return {"virtual": sorted(map(bare, virtual.values())), "backends": backends}


def _ports(
    item: Declared, replica: ContainerSpec, networks: Sequence[str], world: World, allotment: Allotment
) -> dict[str, dict[str, int]]:
    """Network -> `tcp 127.0.0.1:8080` -> the port inside, balanced over the replicas whichever way it is reached.

    On the network of the replicas' default route, by which alone answers find back.
    """
    joined = [
        Joined(name, allotment.networks[name], allotment.pools[name], _families(allotment, name), "")
        for name in networks
    ]
    out = ways_out(replica, joined)
    found: dict[str, dict[str, int]] = {}
    for number, port in enumerate(replica.ports):
        if port.mode != "ingress":
            continue
        refuse_unreachable(item, number, port, list(out.values()))
        chosen = host_port(port, f"{SERVICE_OWNER}{item.key.name}/{number}", world, allotment)
        for family, address in host_addresses(port.host_ip, out).items():
            found.setdefault(out[family].name, {})[f"{port.protocol} {join(address, chosen)}"] = port.target
    return found


def _families(allotment: Allotment, network: str) -> dict[int, str]:
    """The address families that replicas have there; which addresses does not matter here."""
    return {pool.family: str(pool.subnet) for pool in allotment.pools[network]}


def _names(item: Declared, balance: dict[str, Any]) -> dict[str, Any]:
    """The service's name is its virtual address; without one it brings no name, None. Names that replicas share
    (`tasks.NAME`) they bring themselves."""
    return {
        network: {"names": [item.key.name], "addresses": virtual} if (virtual := facts["virtual"]) else None
        for network, facts in balance.items()
    }
