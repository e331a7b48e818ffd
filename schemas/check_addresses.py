"""Addresses that containers fix and networks declare: each inside its network, and nobody's twice.

Pure: called by `check`. Looks at what is written; which free address anybody gets is the planner's, and which subnets
the host already reaches is seen when it is observed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from schemas.attachment import Attachment
from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.errors import Problem
from schemas.field_path import Path
from schemas.network import NetworkSpec, Pool, has_own_macs

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Subnet: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

FIXED = ("ipv4_address", "ipv6_address", "mac_address")
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Fixed:
    """An address that a container has on a network, come what may."""

    declared: Declared
    network: str
    field: str
    text: str

    @property
    def path(self) -> Path:
        return ("spec", "networks", self.network, self.field)


def address_problems(objects: Collection[Declared], others: Collection[Declared]) -> Iterator[Problem]:
    """Every fixed address of `objects` that cannot be had, and every subnet of theirs that overlaps another's."""
    networks = {each.key.name: each.spec for each in (*others, *objects) if isinstance(each.spec, NetworkSpec)}
    taken: dict[tuple[str, str], Fixed] = {(each.network, each.text): each for each in _fixed(others)}
    for fixed in _fixed(objects):
        earlier = taken.setdefault((fixed.network, fixed.text), fixed)
        if earlier is not fixed:
            where = f"{earlier.declared.key} at {earlier.declared.place(earlier.path)}"
            yield fixed.declared.problem(fixed.path, f"{fixed.text} is already that of {where}", "write another")
        if fixed.field == "mac_address":
            yield from _shared(fixed, networks)
        else:
            yield from _misplaced(fixed, networks)
    yield from _overlaps(objects, others)


def _fixed(objects: Collection[Declared]) -> Iterator[Fixed]:
    for declared in objects:
        if isinstance(declared.spec, ContainerTemplate):
            for network, attachment in declared.spec.networks.items():
                yield from _fixed_of(declared, network, attachment)


def _fixed_of(declared: Declared, network: str, attachment: Attachment) -> Iterator[Fixed]:
    for field in FIXED:
        text = getattr(attachment, field)
        if text is not None:
            yield Fixed(declared, network, field, text)


def _shared(fixed: Fixed, networks: Mapping[str, NetworkSpec]) -> Iterator[Problem]:
    """A hardware address on a network whose links have their parent's."""
    spec = networks.get(fixed.network)
    if spec is not None and not has_own_macs(spec):
        message = f"links of the network {fixed.network} have the hardware address of its parent"
        yield fixed.declared.problem(fixed.path, message, "leave it out")


def _misplaced(fixed: Fixed, networks: Mapping[str, NetworkSpec]) -> Iterator[Problem]:
    """An address outside its network's subnets, or one of them that is not a container's to have."""
    spec = networks.get(fixed.network, NetworkSpec() if fixed.network == DEFAULT else None)
    if spec is None or spec.external:
        return
    address = ipaddress.ip_address(fixed.text)
    pools = [pool for pool in spec.ipam.config if pool.subnet and _subnet(pool).version == address.version]
    within = next((pool for pool in pools if address in _subnet(pool)), None)
    if not pools:
        example = "10.5.0.0/24" if address.version == 4 else "fd00:5::/64"
        message = f"the network {fixed.network} has no IPv{address.version} subnet that is written"
        yield fixed.declared.problem(fixed.path, message, f"give it one below ipam.config, as subnet: {example}")
    elif within is None:
        subnets = " and ".join(str(pool.subnet) for pool in pools)
        message = f"{address} lies outside the network {fixed.network}, which is {subnets}"
        yield fixed.declared.problem(fixed.path, message, "write an address inside it")
    elif address in (reserved := _reserved(within)):
        message = f"{address} is {reserved[address]} the network {fixed.network}"
        yield fixed.declared.problem(fixed.path, message, "write another address inside it")


def _subnet(pool: Pool) -> Subnet:
    return ipaddress.ip_network(pool.subnet or "")


def _reserved(pool: Pool) -> dict[Address, str]:
    """Addresses of a pool that no container can have, and what they are."""
    subnet = _subnet(pool)
    found: dict[Address, str] = {ipaddress.ip_address(text): "set aside in" for text in pool.aux_addresses.values()}
    if subnet.num_addresses > 2:
        found[subnet.network_address] = "the address of"
        if subnet.version == 4:
            found[subnet.broadcast_address] = "the broadcast address of"
    gateway = ipaddress.ip_address(pool.gateway) if pool.gateway else subnet.network_address + 1
    found[gateway] = "the gateway of"
    return found


def _overlaps(objects: Collection[Declared], others: Collection[Declared]) -> Iterator[Problem]:
    """Subnets of two networks that share addresses, found by sweeping over them in order."""
    ours = {id(declared) for declared in objects}
    spans = sorted(_spans((*objects, *others)), key=lambda span: span[:3])
    widest: tuple[int, int, int, Declared, Path] | None = None
    for span in spans:
        if widest is not None and span[0] == widest[0] and span[1] <= widest[2] and span[3].key != widest[3].key:
            yield from _overlap(span, widest, ours)
        if widest is None or span[0] != widest[0] or span[2] > widest[2]:
            widest = span


def _spans(objects: Collection[Declared]) -> Iterator[tuple[int, int, int, Declared, Path]]:
    """Family, first and last address, and where that is said, of every pool of the networks that we make."""
    for declared in objects:
        if isinstance(declared.spec, NetworkSpec) and not declared.spec.external:
            for index, pool in enumerate(declared.spec.ipam.config):
                if pool.subnet is not None:
                    subnet = _subnet(pool)
                    path = ("spec", "ipam", "config", index, "subnet")
                    first, last = int(subnet.network_address), int(subnet.broadcast_address)
                    yield subnet.version, first, last, declared, path


def _overlap(
    one: tuple[int, int, int, Declared, Path], two: tuple[int, int, int, Declared, Path], ours: Collection[int]
) -> Iterator[Problem]:
    """The problem at the later of the two, or at the one that is ours."""
    later, earlier = sorted((one, two), key=lambda span: (id(span[3]) in ours, span[3].origin), reverse=True)
    if id(later[3]) in ours:
        where = f"{earlier[3].key} at {earlier[3].place(earlier[4])}"
        yield later[3].problem(later[4], f"overlaps the subnet of {where}", "write another subnet")
