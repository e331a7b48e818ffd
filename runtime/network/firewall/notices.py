"""What the kernel tells of changes to our tables: by nobody else's hand than that of whoever is not this process.

Called by the loop, which only wants to know whose rules or elements were touched. The messages of a transaction come
first, then the generation with the thread that made it (include/uapi/linux/netfilter/nf_tables.h).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from runtime.layout import Layout
from runtime.network.netlink import attributes_of
from runtime.network.notices import Overrun

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP = 12, 270, 1, 7
_HEADER = struct.Struct("=IHHII")
_SUBSYSTEM = 10
_NEWGEN = 15
_NEWTABLE, _DELTABLE = 0, 2
_ELEMENTS = (12, 14)
_BODY = 4
"""struct nfgenmsg."""
_TABLE, _SET, _LIST = 1, 2, 3
_ELEMENT, _USERDATA, _COMMENT = 1, 6, 0
_GEN_PID = 2
_BUFFER_BYTES = 1 << 20
_RECEIVE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Touched:
    """What of our tables was touched: `owners` by the comments of elements, `chains`, or `everything`."""

    owners: frozenset[str] = frozenset()
    everything: bool = False


def open_firewall_notices() -> socket.socket:
    """A non-blocking socket in the namespace of the calling thread. Raises OSError."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    opened = socket.socket(socket.AF_NETLINK, kind, _NETLINK_NETFILTER)
    try:
        for option in (getattr(socket, "SO_RCVBUFFORCE", 33), socket.SO_RCVBUF):
            with suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
                break
        opened.bind((0, 0))
        opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)
    except OSError:
        opened.close()
        raise
    return opened


class Transactions:
    """Reads transactions off a socket; one may come in several datagrams."""

    def __init__(self, layout: Layout, is_ours: Callable[[int], bool]) -> None:
        """`is_ours` tells the engine's own threads, by their ids, from everybody else."""
        self._table = layout.nft_table
        self._is_ours = is_ours
        self._owners: set[str] = set()
        self._everything = False

    def read(self, opened: socket.socket) -> Iterator[Touched]:
        """Each finished transaction of somebody else on our tables. Raises Overrun."""
        while True:
            try:
                data = opened.recv(_RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise Overrun from error
                raise
            for kind, body in _messages(data):
                found = self._take(kind, body)
                if found is not None:
                    yield found

    def _take(self, kind: int, body: bytes) -> Touched | None:
        if kind == _NEWGEN:
            touched = Touched(frozenset(self._owners), self._everything)
            self._owners, self._everything = set(), False
            pid = dict(attributes_of(body)).get(_GEN_PID)
            if not (touched.owners or touched.everything) or (pid and self._is_ours(struct.unpack(">I", pid)[0])):
                return None
            return touched
        found = dict(attributes_of(body))
        if found.get(_TABLE, b"").rstrip(b"\0").decode(errors="replace") != self._table:
            return None
        owners = set(_owners(found.get(_LIST, b""))) if kind in _ELEMENTS else set()
        if owners and "" not in owners:
            self._owners |= owners
        else:
            self._everything = True
        return None


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size + _BODY <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        if kind >> 8 == _SUBSYSTEM:
            yield kind & 0xFF, data[offset + _HEADER.size + _BODY : offset + length]
        offset += max((length + 3) & ~3, _HEADER.size)


def _owners(elements: bytes) -> Iterator[str]:
    """The comment of each element, whose first word is its owner; empty for one without."""
    for kind, element in attributes_of(elements):
        if kind == _ELEMENT:
            data = dict(attributes_of(element)).get(_USERDATA, b"")
            yield _comment(data).partition(" ")[0]


def _comment(data: bytes) -> str:
    """libnftnl's udata: type, length, value, as often as there are any."""
    offset = 0
    while offset + 2 <= len(data):
        kind, length = data[offset], data[offset + 1]
        if kind == _COMMENT:
            return data[offset + 2 : offset + 2 + length].rstrip(b"\0").decode(errors="replace")
        offset += 2 + length
    return ""
