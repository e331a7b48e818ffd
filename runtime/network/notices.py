"""What rtnetlink(7) tells of changes: links, addresses, routes and rules of this namespace and of the containers'.

Called by the loop, which only wants to know where something happened. One socket hears every network namespace that
this one has a number for (NETLINK_LISTEN_ALL_NSID), which the kernel gives to the peer of each veth; so a thousand
containers need no socket of their own.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from runtime.network import netlink
from runtime.network.records import Address

_SOL_NETLINK, _LISTEN_ALL_NSID = 270, 8
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE."""
_HEADER = struct.Struct("=IHHII")
_LINK_BODY = struct.Struct("=BxHiII")
_ADDRESS_BODY = struct.Struct("=BBBBI")
_ROUTE_BODY = struct.Struct("=8BI")
_IFLA_IFNAME, _IFLA_NETNSID = 3, 37
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_ADDRESS_BYTES = (4, 16)
_RTA_OIF, _RTA_PRIORITY, _RTA_TABLE = 4, 6, 15
_RTM_NEWNSID, _RTM_GETNSID = 88, 90
_NETNSA_NSID, _NETNSA_PID = 1, 2
_NO_NUMBER = -1
_BUFFER_BYTES = 1 << 20
_RECEIVE_BYTES = 1 << 16
_LOCAL_TABLE = 255


@dataclass(frozen=True, slots=True)
class Notice:
    """Something changed: of the link `name` or with the number `index` (either may be unknown), in the namespace
    `nsid` (None: ours). `beyond`: the namespace of its peer. `lost`: an address for itself alone (/32, /128) that
    went, as a Service's may."""

    kind: str
    index: int = 0
    name: str = ""
    nsid: int | None = None
    beyond: int | None = None
    lost: Address | None = None


class Overrun(Exception):
    """The kernel had more to tell than the socket could hold: anything may have changed."""


def open_notices() -> socket.socket:
    """A non-blocking socket in the namespace of the calling thread. Raises OSError."""
    opened = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
    )
    try:
        opened.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        for option in (getattr(socket, "SO_RCVBUFFORCE", 33), socket.SO_RCVBUF):
            with suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
                break
        opened.bind((0, _GROUPS))
    except OSError:
        opened.close()
        raise
    return opened


def read_notices(opened: socket.socket) -> Iterator[Notice]:
    """Everything queued at this moment. Raises Overrun."""
    while True:
        try:
            data, ancillary, _, _ = opened.recvmsg(_RECEIVE_BYTES, 64)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise Overrun from error
            raise
        yield from _parse(data, _nsid(ancillary))


def _nsid(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, value in ancillary:
        if level == _SOL_NETLINK and kind == _LISTEN_ALL_NSID:
            return int(struct.unpack_from("=i", value)[0])
    return None


def _parse(data: bytes, nsid: int | None) -> Iterator[Notice]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        body = data[offset + _HEADER.size : offset + length]
        offset += max((length + 3) & ~3, _HEADER.size)
        found = _notice(kind, body, nsid)
        if found is not None:
            yield found


def _notice(kind: int, body: bytes, nsid: int | None) -> Notice | None:
    if kind in (netlink.RTM_NEWLINK, netlink.RTM_DELLINK):
        _, _, index, _, _ = _LINK_BODY.unpack_from(body)
        found = dict(netlink.attributes_of(body[_LINK_BODY.size :]))
        beyond = struct.unpack("=i", found[_IFLA_NETNSID])[0] if _IFLA_NETNSID in found else None
        name = found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        return Notice("link", index, name, nsid, beyond)
    if kind in (netlink.RTM_NEWADDR, netlink.RTM_DELADDR):
        lost = _single(body) if kind == netlink.RTM_DELADDR else None
        return Notice("address", _ADDRESS_BODY.unpack_from(body)[4], "", nsid, lost=lost)
    if kind in (netlink.RTM_NEWROUTE, netlink.RTM_DELROUTE):
        return _route(body, nsid)
    return None


def _single(body: bytes) -> Address | None:
    _, length, _, _, _ = _ADDRESS_BODY.unpack_from(body)
    found = dict(netlink.attributes_of(body[_ADDRESS_BODY.size :]))
    raw = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")
    return ip_address(raw) if len(raw) in _ADDRESS_BYTES and length == 8 * len(raw) else None


def _route(body: bytes, nsid: int | None) -> Notice | None:
    if _ROUTE_BODY.unpack_from(body)[4] == _LOCAL_TABLE:
        return None
    found = dict(netlink.attributes_of(body[_ROUTE_BODY.size :]))
    return Notice("route", netlink.number_of(found.get(_RTA_OIF)), "", nsid)


def namespace_number(opened: socket.socket, pid: int) -> int | None:
    """The number by which notices name the network namespace of process `pid`; None where it has none (yet).

    `opened` is a socket of `netlink.route_socket`.
    """
    body = struct.pack("=Bxxx", 0) + netlink.attribute(_NETNSA_PID, struct.pack("=I", pid))
    try:
        answer = netlink.ask(opened, _RTM_GETNSID, body, errno.ESRCH)
    except OSError:
        return None
    raw = dict(netlink.attributes_of(answer[4:])).get(_NETNSA_NSID) if answer is not None else None
    number = int(struct.unpack("=i", raw)[0]) if raw else _NO_NUMBER
    return None if number == _NO_NUMBER else number


def link_indexes() -> dict[str, int]:
    """Number of each link of this namespace, by name: for what stood before anybody listened."""
    return {name: index for index, name in socket.if_nameindex()}
