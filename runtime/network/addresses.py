"""Addresses and routes as the kernel holds them, as records.

Called by everybody who observes. Uses the namespace that the socket was opened in. `changes.py` makes them.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network

from runtime.network import netlink
from runtime.network.records import Address, Interface, Route, Subnet

_ADDRESS = struct.Struct("=BBBBI")
"""`struct ifaddrmsg`: family, prefix length, flags, scope, index."""
_ROUTE = struct.Struct("=BBBBBBBBI")
"""`struct rtmsg`: family, lengths of destination and source, tos, table, protocol, scope, type, flags."""
_HOP = struct.Struct("=HBBi")
"""`struct rtnexthop`: length, flags, hops, index."""
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_TENTATIVE = 0x40
_IFA_PROTO, _OF_THE_KERNEL = 11, b"\x03"
"""IFAPROT_KERNEL_LL of if_addr.h, since Linux 5.18."""
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH, _RTA_VIA = 1, 4, 5, 6, 9, 18
_RT_TABLE_MAIN, _RTN_UNICAST, _RTM_F_CLONED = 254, 1, 0x200
_TYPES: dict[int, type[IPv4Address] | type[IPv6Address]] = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}
Attributes = Mapping[int, bytes]
KNOWN_VALUES = 4096
"""Addresses whose records are kept: a resync meets the same again, and making one costs more than to ask for it."""


def read_addresses(opened: socket.socket, index: int) -> frozenset[Interface]:
    """The addresses of link `index`, without the link-local one that the kernel makes itself. Raises OSError."""
    return all_addresses(opened, index).get(index, frozenset())


def all_addresses(opened: socket.socket, index: int = 0) -> dict[int, frozenset[Interface]]:
    """The addresses of every link (or of `index`), by link index, likewise. Raises OSError."""
    found: dict[int, set[Interface]] = {}
    for body in netlink.dump(opened, netlink.RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, index)):
        family, length, _, _, link = _ADDRESS.unpack_from(body)
        if family not in _TYPES:
            continue
        attributes = dict(netlink.attributes_of(body[_ADDRESS.size :]))
        raw = attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS]
        address = _interface(family, raw, length)
        # a link-local address that somebody gave counts as any other
        if attributes.get(_IFA_PROTO) != _OF_THE_KERNEL:
            found.setdefault(link, set()).add(address)
    return {link: frozenset(addresses) for link, addresses in found.items()}


def has_unready(opened: socket.socket, index: int) -> bool:
    """Whether link `index` has an IPv6 address that nothing is sent from yet, the link-local one among them.

    Raises OSError.
    """
    found = netlink.dump(opened, netlink.RTM_GETADDR, _ADDRESS.pack(socket.AF_INET6, 0, 0, 0, index))
    return any(_ADDRESS.unpack_from(body)[2] & _IFA_F_TENTATIVE for body in found)


def read_routes(opened: socket.socket, names: Mapping[int, str], *, every_table: bool = False) -> list[Route]:
    """The unicast routes of the main table, or of all but `local`; link-local and multicast ones are left out.

    `names` are those of the links by index. Raises OSError.
    """
    table = 0 if every_table else _RT_TABLE_MAIN
    found = []
    for body in netlink.dump(opened, netlink.RTM_GETROUTE, _ROUTE.pack(0, 0, 0, 0, table, 0, 0, 0, 0)):
        family, length, _, _, _, _, _, kind, flags = _ROUTE.unpack_from(body)
        if family not in _TYPES or kind != _RTN_UNICAST or flags & _RTM_F_CLONED:
            continue
        attributes = dict(netlink.attributes_of(body[_ROUTE.size :]))
        subnet = _subnet(family, attributes.get(_RTA_DST), length)
        if not subnet.is_link_local and not subnet.is_multicast:
            metric = netlink.number_of(attributes.get(_RTA_PRIORITY))
            found += [Route(subnet, via, names.get(link, ""), metric) for via, link in _hops(family, attributes)]
    return found


@lru_cache(KNOWN_VALUES)
def _interface(family: int, raw: bytes, length: int) -> Interface:
    return ip_interface((_TYPES[family](raw), length))


@lru_cache(KNOWN_VALUES)
def _subnet(family: int, raw: bytes | None, length: int) -> Subnet:
    return ip_network((_address(family, raw) or _TYPES[family](0), length))


def _hops(family: int, attributes: Attributes) -> Iterator[tuple[Address | None, int]]:
    """Gateway and link of each hop of a route."""
    hops = attributes.get(_RTA_MULTIPATH)
    if hops is None:
        yield _via(family, attributes), netlink.number_of(attributes.get(_RTA_OIF))
        return
    while len(hops) >= _HOP.size:
        length, _, _, link = _HOP.unpack_from(hops)
        yield _via(family, dict(netlink.attributes_of(hops[_HOP.size : length]))), link
        hops = hops[(length + 3) & ~3 :]


def _via(family: int, attributes: Attributes) -> Address | None:
    """The gateway; RTA_VIA is one of the other family."""
    via = attributes.get(_RTA_VIA)
    if via is not None:
        return _address(struct.unpack_from("=H", via)[0], via[2:])
    return _address(family, attributes.get(_RTA_GATEWAY))


@lru_cache(KNOWN_VALUES)
def _address(family: int, raw: bytes | None) -> Address | None:
    return _TYPES[family](raw) if raw else None
