"""Hand out what must be unique on an engine: subnets, addresses, id ranges, free host ports. Pure.

Leases that still fit are kept; declared values come first, so that nothing automatic takes them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, product

from reconciler.addresses import (
    NARROWEST_ROUTE,
    Address,
    Pool,
    Subnet,
    choose_address,
    choose_id_base,
    choose_subnet,
    first_host,
)
from reconciler.resolve.expand import Instance
from reconciler.resolve.world import World
from schemas.envelope import Declared
from schemas.errors import Invalid, Refused
from schemas.names import Key, Kind
from schemas.network import NetworkSpec
from schemas.network import Pool as DeclaredPool

NewLeases = dict[str, dict[str, str]]
AUTOMATIC_PORTS = range(32_768, 61_000)
"""Where a published port without a number is taken from: Docker's own range."""
BRIDGE_PORTS = 1023
"""Of one bridge: the kernel's BR_MAX_PORTS, which counts from 1."""
SERVICE_OWNER = "service:"
"""Before a Service's name where it holds an address or a port, since a container may bear the same name."""


@dataclass(slots=True)
class Allotment:
    """What was handed out, growing as it is."""

    leases: NewLeases = field(default_factory=dict)
    pools: dict[str, tuple[Pool, ...]] = field(default_factory=dict)
    networks: dict[str, NetworkSpec] = field(default_factory=dict)
    holders: dict[str, dict[Address, str]] = field(default_factory=dict)
    """Network -> address -> who holds it."""
    id_bases: set[int] = field(default_factory=set)

    def lease(self, space: str, owner: str, value: str) -> str:
        self.leases.setdefault(space, {})[owner] = value
        return value


def allot_pools(networks: Mapping[Key, Declared], world: World, allotment: Allotment) -> None:
    """Every network's pools: those declared first, then automatic ones that collide with nothing.

    What a living network was given nobody new takes, whether it is declared this time or not.
    """
    taken: list[Subnet] = list(world.routes)
    leased = {
        owner: ipaddress.ip_network(value)
        for owner, value in world.leases.get("subnets", {}).items()
        if owner.partition("/")[0] in world.living
    }
    ordered = sorted(networks.values(), key=lambda item: (not _spec(item).ipam.config, item.key))
    for item in ordered:
        own = {net for owner, net in leased.items() if owner.partition("/")[0] == item.key.name}
        busy = [net for net in (*taken, *leased.values()) if net not in own]
        pools = list(_pools(item, world, busy, allotment))
        if item.key not in world.others:
            _refuse_routed(item, pools, world)
            _refuse_taken(item, leased)
        taken += [pool.subnet for pool in pools]
        allotment.pools[item.key.name] = tuple(pools)
        allotment.networks[item.key.name] = _spec(item)


def _refuse_routed(item: Declared, pools: Sequence[Pool], world: World) -> None:
    """A bridge over a subnet that the host reaches otherwise would cut the host off from it."""
    for pool, route in product(pools, world.routes) if _spec(item).driver == "bridge" else ():
        wide = route.version != pool.family or route.prefixlen < NARROWEST_ROUTE
        if not wide and pool.subnet.overlaps(route):
            raise Refused(
                f"{pool.subnet} overlaps {route}, which the host already reaches otherwise",
                object=str(item.key),
                step="choose a subnet",
                hint="write another subnet, or none for a free one",
            )


def _refuse_taken(item: Declared, leased: Mapping[str, Subnet]) -> None:
    """A subnet that another network was given, of whichever set it is. Raises Invalid, at its place."""
    problems = []
    for index, entry in enumerate(_spec(item).ipam.config):
        for owner, subnet in leased.items():
            name = owner.partition("/")[0]
            if entry.subnet and name != item.key.name and ipaddress.ip_network(entry.subnet).overlaps(subnet):
                path = ("spec", "ipam", "config", index, "subnet")
                message = f"overlaps {subnet}, which {Key(Kind.NETWORK, name)} was given"
                problems.append(item.problem(path, message, "write another subnet"))
    if problems:
        raise Invalid(problems)


def with_bridges(leases: Mapping[str, Mapping[str, str]], bridged: Mapping[str, Subnet]) -> dict[str, dict[str, str]]:
    """The leases, and those that only the kernel knows any more: `bridged` by network and family, as `shop/4`."""
    found = {space: dict(owners) for space, owners in leases.items()}
    known = found.setdefault("subnets", {})
    for owner, subnet in bridged.items():
        known.setdefault(owner, str(subnet))
    return found


def _spec(item: Declared) -> NetworkSpec:
    assert isinstance(item.spec, NetworkSpec)
    return item.spec


def _pools(item: Declared, world: World, taken: list[Subnet], allotment: Allotment) -> Iterator[Pool]:
    spec = _spec(item)
    if spec.driver in ("host", "none"):
        return
    declared = [_declared_pool(entry) for entry in spec.ipam.config if entry.subnet]
    yield from declared
    families = {pool.family for pool in declared}
    automatic = {4: spec.enable_ipv4 and (not declared or _unwritten(spec)), 6: bool(spec.enable_ipv6)}
    for version, wanted in automatic.items():
        if wanted and version not in families:
            owner = f"{item.key.name}/{version}"
            leased = world.leases.get("subnets", {}).get(owner)
            subnet = choose_subnet(version, leased, taken, world.seed)
            allotment.lease("subnets", owner, str(subnet))
            yield Pool(subnet, first_host(subnet))


def _unwritten(spec: NetworkSpec) -> bool:
    """Whether a pool is listed without its subnet, or IPv6 pools are listed beside an automatic IPv4 one."""
    return any(entry.subnet is None or ":" in entry.subnet for entry in spec.ipam.config)


def _declared_pool(entry: DeclaredPool) -> Pool:
    subnet = ipaddress.ip_network(entry.subnet or "")
    return Pool(
        subnet,
        ipaddress.ip_address(entry.gateway) if entry.gateway else first_host(subnet),
        ipaddress.ip_network(entry.ip_range) if entry.ip_range else None,
        frozenset(ipaddress.ip_address(address) for address in entry.aux_addresses.values()),
    )


def keep_leased(world: World, allotment: Allotment) -> None:
    """What was given to anyone who lives stays given, so that nobody new takes it."""
    for space, leases in world.leases.items():
        for owner, value in leases.items():
            if owner.partition("/")[0] not in world.living:
                continue
            allotment.lease(space, owner, value)
            if space.startswith("address/"):
                _hold(allotment, space.split("/")[1], ipaddress.ip_address(value), owner)


def reserve_fixed(wanted: Iterable[Instance], allotment: Allotment) -> None:
    """Addresses that manifests fix belong to their owners, whoever was leased them."""
    for instance in wanted:
        for network, attachment in instance.spec.networks.items():
            for text in (attachment.ipv4_address, attachment.ipv6_address):
                if text:
                    _hold(allotment, network, ipaddress.ip_address(text), instance.key.name)


def _hold(allotment: Allotment, network: str, address: Address, owner: str) -> None:
    allotment.holders.setdefault(network, {})[address] = owner


def allot_addresses(
    owner: str, network: str, fixed: Mapping[int, str | None], world: World, allotment: Allotment
) -> dict[int, str]:
    """Family -> address with the prefix of its subnet, for one owner on one network."""
    found: dict[int, str] = {}
    pools = allotment.pools.get(network, ())
    holders = allotment.holders.setdefault(network, {})
    for family in sorted({pool.family for pool in pools}):
        space = f"address/{network}/{family}"
        leased = world.leases.get(space, {}).get(owner)
        if leased is not None and holders.get(ipaddress.ip_address(leased), owner) != owner:
            leased = None
        wanted = fixed.get(family)
        if wanted is None and leased is not None:
            holders.pop(ipaddress.ip_address(leased), None)
        of_family = [pool for pool in pools if pool.family == family]
        pool, address = _choose(of_family, leased, wanted, holders)
        holders[address] = owner
        allotment.lease(space, owner, str(address))
        found[family] = f"{address}/{pool.subnet.prefixlen}"
    return found


def _choose(
    pools: Sequence[Pool], leased: str | None, wanted: str | None, holders: Mapping[Address, str]
) -> tuple[Pool, Address]:
    """From the pool that the fixed or leased address belongs to, else from the first that has one left."""
    named = wanted or leased
    within = [pool for pool in pools if named is not None and ipaddress.ip_address(named) in pool.subnet]
    *others, last = [*within, *(pool for pool in pools if pool not in within)]
    for pool in others:
        with suppress(Refused):
            return pool, choose_address(pool, leased, wanted, holders)
    return last, choose_address(last, leased, wanted, holders)


def refuse_crowded(allotment: Allotment) -> None:
    """More containers than a bridge has ports; those that live, of whichever set, are counted. Raises Refused."""
    for network, holders in allotment.holders.items():
        spec = allotment.networks.get(network)
        if spec is None or spec.driver != "bridge" or len(holders) <= BRIDGE_PORTS:
            continue
        containers = {owner for owner in holders.values() if not owner.startswith(SERVICE_OWNER)}
        if len(containers) > BRIDGE_PORTS:
            raise Refused(
                f"{len(containers):,} containers are more than a bridge can carry: {BRIDGE_PORTS:,}",
                object=str(Key(Kind.NETWORK, network)),
                step="choose an address",
                hint="spread them over several networks; driver_opts: {isolation: false} lets those reach each other",
            )


def allot_interfaces(instance: Instance, networks: Sequence[str], world: World, allotment: Allotment) -> dict[str, str]:
    """Network -> name of the link inside: as the manifest says, as it was, else the lowest `ethN` that is free.

    What was attached keeps its name when another network comes before it: it is not unplugged for that.
    """
    name, space = instance.key.name, f"interface/{instance.key.name}"
    leased = {network: world.leases.get(space, {}).get(f"{name}/{network}") for network in networks}
    for owner in set(allotment.leases.get(space, {})) - {f"{name}/{network}" for network in networks}:
        del allotment.leases[space][owner]
    found: dict[str, str] = {}
    fixed = {n: attachment.interface_name for n, attachment in instance.spec.networks.items()}
    taken = {link for link in (*fixed.values(), *leased.values()) if link}
    for network in networks:
        own = fixed.get(network) or leased[network]
        found[network] = own or next(link for number in count() if (link := f"eth{number}") not in taken)
        taken.add(found[network])
        if not fixed.get(network):
            allotment.lease(space, f"{name}/{network}", found[network])
    return found


def allot_ids(instance: Instance, world: World, allotment: Allotment) -> int:
    """The first host id of the container's own range."""
    leased = world.leases.get("userns", {}).get(instance.key.name)
    if leased is not None and instance.key.name in allotment.leases.get("userns", {}):
        return int(leased)
    if not allotment.id_bases:
        allotment.id_bases |= {int(value) for value in allotment.leases.get("userns", {}).values()}
        allotment.id_bases |= world.foreign_ids
    base = choose_id_base(leased, allotment.id_bases)
    allotment.id_bases.add(base)
    allotment.lease("userns", instance.key.name, str(base))
    return base


def allot_port(owner: str, protocol: str, choices: Iterable[int], world: World, allotment: Allotment) -> int:
    """A host port out of `choices` that nobody was given and nothing listens on; the leased one if it still fits."""
    space = f"port/{protocol}"
    given = {int(value) for who, value in allotment.leases.get(space, {}).items() if who != owner}
    leased = world.leases.get(space, {}).get(owner)
    options = list(choices)
    if leased is not None and int(leased) in options and int(leased) not in given:
        allotment.lease(space, owner, leased)
        return int(leased)
    port = next((p for p in options if p not in given and (protocol, p) not in world.busy_ports), options[0])
    allotment.lease(space, owner, str(port))
    return port


def networks_of(declared: Mapping[Key, Declared]) -> dict[Key, Declared]:
    """Of what is declared, the Networks."""
    return {key: item for key, item in declared.items() if key.kind is Kind.NETWORK}
