"""Which subnet, address and id range belongs to whom: leases kept where they still fit, new ones chosen otherwise.

Pure: called by `desired` with what the store remembers and what the host already routes; the store keeps the answer.
Automatic subnets never overlap a route of the host, a declared subnet or another lease. An address, once given, stays
with its owner until the owner is gone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from schemas.errors import Refused

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

AUTOMATIC_V4 = ipaddress.IPv4Network("10.210.0.0/15")
AUTOMATIC_V4_PREFIX = 24
AUTOMATIC_V6_PREFIX = 64

NARROWEST_ROUTE = 4
"""Prefix length; a wider route is a default route, also in halves, as VPNs set it."""

ID_RANGE = 65_536
"""Ids of one container's user namespace (user_namespaces(7))."""

ID_BASE, ID_END = 0x2000_0000, 0x6000_0000
"""Host ids given to containers: above what distributions hand out in /etc/subuid, within systemd's container range."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One address pool of a network, as declared or chosen. `reserved`: aux_addresses, gateway, fixed addresses."""

    subnet: Subnet
    gateway: Address
    ip_range: Subnet | None = None
    reserved: frozenset[Address] = frozenset()

    @property
    def family(self) -> int:
        return self.subnet.version


def first_host(subnet: Subnet) -> Address:
    """The gateway Docker would choose: the first address of the subnet."""
    return subnet.network_address + 1


def choose_subnet(version: int, leased: str | None, taken: Iterable[Subnet], seed: str) -> Subnet:
    """Keep `leased` when it collides with nothing, else the first free automatic subnet.

    `seed` (six hexadecimal digits) makes the IPv6 prefix a unique local one of this engine (RFC 4193).
    Raises Refused when the pool is used up.
    """
    busy = [net for net in taken if net.version == version and net.prefixlen >= NARROWEST_ROUTE]
    candidates = _candidates(version, seed)
    if leased is not None:
        candidates = _chain(ipaddress.ip_network(leased), candidates)
    for candidate in candidates:
        if not any(candidate.overlaps(net) for net in busy):
            return candidate
    raise Refused(
        f"no automatic IPv{version} subnet is free in {AUTOMATIC_V4 if version == 4 else 'the engine’s prefix'}",
        step="choose a subnet",
        hint="declare one in the Network's spec.ipam.config",
    )


def _chain(first: Subnet, rest: Iterator[Subnet]) -> Iterator[Subnet]:
    yield first
    yield from rest


def _candidates(version: int, seed: str) -> Iterator[Subnet]:
    if version == 4:
        yield from AUTOMATIC_V4.subnets(new_prefix=AUTOMATIC_V4_PREFIX)
        return
    yield from _prefix_v6(seed).subnets(new_prefix=AUTOMATIC_V6_PREFIX)


def _prefix_v6(seed: str) -> ipaddress.IPv6Network:
    return ipaddress.IPv6Network((int(f"fd74{seed}00", 16) << 80, 48))


def last_v6(seed: str) -> Iterator[ipaddress.IPv6Network]:
    """The automatic subnets from the last on: for what is no Network, and in no Network's way."""
    first = int(_prefix_v6(seed).network_address)
    for number in reversed(range(2 ** (AUTOMATIC_V6_PREFIX - 48))):
        yield ipaddress.IPv6Network((first + (number << (128 - AUTOMATIC_V6_PREFIX)), AUTOMATIC_V6_PREFIX))


def choose_address(pool: Pool, leased: str | None, fixed: str | None, taken: Collection[Address]) -> Address:
    """`fixed` if declared, else `leased` while it still fits, else the lowest free one. Raises Refused when full."""
    if fixed is not None:
        return ipaddress.ip_address(fixed)
    within = pool.ip_range or pool.subnet
    if leased is not None:
        address = ipaddress.ip_address(leased)
        if address in within and address not in taken and _usable(pool, address):
            return address
    for address in _hosts(within):
        if address not in taken and _usable(pool, address):
            return address
    raise Refused(f"no address is free in {within}", step="choose an address")


def _usable(pool: Pool, address: Address) -> bool:
    ends = {pool.subnet.network_address}
    if pool.family == 4:
        ends.add(pool.subnet.broadcast_address)
    return address != pool.gateway and address not in pool.reserved and address not in ends


def _hosts(subnet: Subnet) -> Iterator[Address]:
    """Addresses of a subnet in order, without making a list of 2⁶⁴ of them."""
    first = int(subnet.network_address)
    kind = type(subnet.network_address)
    for offset in range(subnet.num_addresses):
        yield kind(first + offset)


def choose_id_base(leased: str | None, taken: set[int]) -> int:
    """The first host id of a container's range of 65,536: `leased` or the lowest free. Raises Refused when full."""
    if leased is not None and int(leased) not in taken:
        return int(leased)
    for base in range(ID_BASE, ID_END, ID_RANGE):
        if base not in taken:
            return base
    raise Refused("all id ranges are given out", step="choose a user namespace")


def mac_of(address: Address) -> str:
    """A locally administered MAC derived from an address, as Docker does: stable, unique within the network."""
    tail = int(address) & 0xFFFF_FFFF
    return "02:42:" + ":".join(f"{(tail >> shift) & 0xFF:02x}" for shift in (24, 16, 8, 0))
