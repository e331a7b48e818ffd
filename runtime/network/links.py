"""Links as records: one by name or index, or all of a namespace.

Called by every file of this room that looks at links. pyroute2 decodes all of a link's eighty attributes in 0.1 ms; a
pass over a thousand containers needs ten of them.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass

from runtime.network import netlink

IFF_UP = 1
_OPERATIONAL = 6
"""IF_OPER_UP of rfc2863."""
_INFO = struct.Struct("=BxHiII")
"""`struct ifinfomsg`: family, type, index, flags, change."""
_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _OPERSTATE, _LINKINFO, _IFALIAS, _GROUP = 1, 3, 4, 5, 10, 16, 18, 20, 27
_LOOKED_AT = frozenset((_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _OPERSTATE, _LINKINFO, _IFALIAS, _GROUP))
_INFO_KIND = 1
_EXT_MASK, _SKIP_STATS = 29, 8
_WITHOUT_COUNTERS = netlink.attribute(_EXT_MASK, struct.pack("=I", _SKIP_STATS))
"""RTEXT_FILTER_SKIP_STATS of rtnetlink.h: a quarter of what a link would tell, and nothing of it is looked at."""


@dataclass(frozen=True, slots=True)
class Link:
    """One link. `kind` is `bridge`, `veth`, …, empty for a network card. `master` and `lower` are indexes, 0 for none.

    `lower` may count in another namespace. `operational`: it has a carrier, and the kernel has taken notice.
    """

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    operational: bool
    master: int
    lower: int
    group: int
    alias: str


def find_link(opened: socket.socket, *, name: str = "", index: int = 0) -> Link | None:
    """The link of that name or index, None where there is none. Raises OSError."""
    attributes = _WITHOUT_COUNTERS + (netlink.attribute(_IFNAME, name.encode() + b"\0") if name else b"")
    body = netlink.ask(opened, netlink.RTM_GETLINK, _INFO.pack(0, 0, index, 0, 0) + attributes, errno.ENODEV)
    return parse_link(body) if body is not None else None


def link_index(opened: socket.socket, name: str) -> int:
    """The index of the link of that name. Raises OSError, ENODEV without it."""
    found = find_link(opened, name=name)
    if found is None:
        raise OSError(errno.ENODEV, f"there is no link {name}")
    return found.index


def all_links(opened: socket.socket) -> list[Link]:
    """Every link of the socket's namespace. Raises OSError."""
    asked = _INFO.pack(0, 0, 0, 0, 0) + _WITHOUT_COUNTERS
    return [parse_link(body) for body in netlink.dump(opened, netlink.RTM_GETLINK, asked)]


def parse_link(body: bytes) -> Link:
    """Read an RTM_NEWLINK message behind its header."""
    _, _, index, flags, _ = _INFO.unpack_from(body)
    found = netlink.picked(body, _LOOKED_AT, _INFO.size)
    return Link(
        index=index,
        name=_text(found.get(_IFNAME)),
        kind=_text(netlink.picked(found.get(_LINKINFO, b""), (_INFO_KIND,)).get(_INFO_KIND)),
        mac=found.get(_ADDRESS, b"").hex(":"),
        mtu=netlink.number_of(found.get(_MTU)),
        up=bool(flags & IFF_UP),
        operational=found.get(_OPERSTATE, b"\0")[0] == _OPERATIONAL,
        master=netlink.number_of(found.get(_MASTER)),
        lower=netlink.number_of(found.get(_LINK)),
        group=netlink.number_of(found.get(_GROUP)),
        alias=_text(found.get(_IFALIAS)),
    )


def _text(raw: bytes | None) -> str:
    return (raw or b"").rstrip(b"\0").decode(errors="replace")
