"""One Service as desired: its virtual addresses, the replicas behind them, its published ports and names. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.desired import Desired
from reconciler.kinds import service
from reconciler.kinds.endpoints import bare
from reconciler.resolve.allot import Allotment, allot_addresses
from reconciler.resolve.containers import host_port
from reconciler.resolve.expand import attached_networks
from reconciler.resolve.world import World
from schemas.envelope import Declared
from schemas.names import Key, Kind
from schemas.service import ServiceSpec


def desire(item: Declared, replicas: Sequence[Desired], world: World, allotment: Allotment) -> Desired:
    spec = item.spec
    assert isinstance(spec, ServiceSpec)
    networks = attached_networks(spec)
    balance = {name: _balance(item, name, replicas, world, allotment) for name in networks}
    if networks:
        balance[networks[0]]["ports"] = _ports(item, spec, world, allotment)
    needs = {Key(Kind.NETWORK, name) for name in networks} | {replica.key for replica in replicas}
    return service.desire(item, tuple(sorted(needs)), balance, _names(item, networks, balance))


def has_virtual_address(spec: ServiceSpec) -> bool:
    return spec.deploy.endpoint_mode == "vip"


def _balance(
    item: Declared, network: str, replicas: Sequence[Desired], world: World, allotment: Allotment
) -> dict[str, Any]:
    spec = item.spec
    assert isinstance(spec, ServiceSpec)
    virtual: dict[int, str] = {}
    if has_virtual_address(spec):
        virtual = allot_addresses(f"service:{item.key.name}", network, {}, world, allotment)
    backends = {replica.key.name: replica.facts["names"][network]["addresses"] for replica in replicas}
    return {"virtual": sorted(map(bare, virtual.values())), "backends": backends}


def _ports(item: Declared, spec: ServiceSpec, world: World, allotment: Allotment) -> dict[str, int]:
    """`tcp 8080` -> the port inside, balanced over the replicas whichever way it is reached."""
    found: dict[str, int] = {}
    for number, port in enumerate(spec.ports):
        if port.mode == "ingress":
            chosen = host_port(port, f"service:{item.key.name}/{number}", world, allotment)
            found[f"{port.protocol} {chosen}"] = port.target
    return found


def _names(item: Declared, networks: Sequence[str], balance: dict[str, Any]) -> dict[str, Any]:
    """The service's name is its virtual address. Names that replicas share (`tasks.NAME`) they bring themselves."""
    return {
        network: {"names": [item.key.name], "addresses": balance[network]["virtual"]}
        for network in networks
        if balance[network]["virtual"]
    }
