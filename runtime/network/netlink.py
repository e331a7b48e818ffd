"""rtnetlink(7) in few system calls: several messages in one send, their acknowledgements, and dumps.

Called by the files of this room that make or read links, addresses and routes. What changes something is encoded by
pyroute2, imported when the first change is made; its sockets are not used, since the synchronous one runs an event loop
of its own and costs more than all the kernel does here. What reads is packed and picked by hand: a look at a thousand
containers should cost neither that import nor its decoding. A socket belongs to the network namespace it was opened in,
whatever its user's thread is in. Safe from any thread, next to any event loop.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH = 28
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT = 270, 10, 11, 12
_NLM_F_DUMP_INTR, _NLM_F_ACK_TLVS = 0x10, 0x200
_NLMSGERR_ATTR_MSG = 1
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH").unpack_from
_NLA_TYPE_MASK = 0x3FFF
_BUFFER_BYTES = 1 << 18
_DUMP_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Request:
    """One encoded message; `tolerated` are the errnos that mean "already so"."""

    data: bytes
    tolerated: frozenset[int] = frozenset()


@contextmanager
def route_socket() -> Iterator[socket.socket]:
    """A netlink socket in the namespace of the calling thread."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as opened:
        opened.bind((0, 0))
        for option in (_CAP_ACK, _EXT_ACK, _STRICT):
            opened.setsockopt(_SOL_NETLINK, option, 1)
        opened.settimeout(10)  # seconds; the kernel answers at once, or something is badly wrong
        yield opened


def import_codecs() -> None:
    """Import pyroute2's messages, which cost about 100 ms: once, before several threads would and deadlock."""
    import pyroute2.netlink.rtnl.ifaddrmsg
    import pyroute2.netlink.rtnl.ifinfmsg
    import pyroute2.netlink.rtnl.ndmsg
    import pyroute2.netlink.rtnl.rtmsg  # noqa: F401


def link_request(
    kind: int, how: int = 0, /, *, tolerated: Sequence[int] = (), attributes: Mapping[str, Any], **fields: int
) -> Request:
    """A message that changes a link; `fields` are those of `struct ifinfomsg`."""
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    return _encoded(ifinfmsg(), kind, how, tolerated, attributes, {"family": 0, **fields})


def address_request(
    kind: int, how: int = 0, /, *, tolerated: Sequence[int] = (), attributes: Mapping[str, Any], **fields: int
) -> Request:
    """A message that changes an address; `fields` are those of `struct ifaddrmsg`."""
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

    return _encoded(ifaddrmsg(), kind, how, tolerated, attributes, fields)


def route_request(
    kind: int, how: int = 0, /, *, tolerated: Sequence[int] = (), attributes: Mapping[str, Any], **fields: int
) -> Request:
    """A message that changes a route; `fields` are those of `struct rtmsg`."""
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    return _encoded(rtmsg(), kind, how, tolerated, attributes, fields)


def neighbour_request(
    kind: int, how: int = 0, /, *, tolerated: Sequence[int] = (), attributes: Mapping[str, Any], **fields: int
) -> Request:
    """A message that changes a neighbour entry; `fields` are those of `struct ndmsg`."""
    from pyroute2.netlink.rtnl.ndmsg import ndmsg

    return _encoded(ndmsg(), kind, how, tolerated, attributes, fields)


def _encoded(
    message: Any,
    kind: int,
    flags: int,
    tolerated: Sequence[int],
    attributes: Mapping[str, Any],
    fields: Mapping[str, int],
) -> Request:
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes.items())
    message["header"] = {"type": kind, "flags": NLM_F_REQUEST | NLM_F_ACK | flags, "sequence_number": 0, "pid": 0}
    message.encode()
    return Request(bytes(message.data), frozenset(tolerated))


def transact(opened: socket.socket, requests: Sequence[Request]) -> None:
    """Send all in one datagram, in order, and wait for every acknowledgement.

    The kernel goes on after a refused message. Raises OSError of the first whose errno is not tolerated, with the
    kernel's own explanation where it gives one.
    """
    if not requests:
        return
    opened.send(b"".join(_numbered(request.data, number) for number, request in enumerate(requests, 1)))
    outstanding = len(requests)
    failure: OSError | None = None
    while outstanding:
        for kind, flags, number, body in _messages(opened.recv(_BUFFER_BYTES)):
            if kind != _NLMSG_ERROR:
                continue
            outstanding -= 1
            code = _code(body)
            if code and code not in requests[number - 1].tolerated and failure is None:
                failure = _failure(code, body, flags)
    if failure is not None:
        raise failure


def ask(opened: socket.socket, kind: int, body: bytes, missing: int) -> bytes | None:
    """The one message that answers RTM_GET* `kind`, behind its header; None when the errno is `missing`.

    `body` is what follows the header. Raises OSError.
    """
    opened.send(_packed(kind, NLM_F_REQUEST | NLM_F_ACK, body))
    found: bytes | None = None
    while True:
        for answer, flags, _, content in _messages(opened.recv(_BUFFER_BYTES)):
            if answer != _NLMSG_ERROR:
                found = content
                continue
            code = _code(content)
            if code not in (0, missing):
                raise _failure(code, content, flags)
            return found


def dump(opened: socket.socket, kind: int, body: bytes) -> list[bytes]:
    """Every message that answers RTM_GET* `kind`, behind its header, filtered by what `body` says (strict checking).

    A dump that a change interrupted is taken again. Raises OSError.
    """
    for _ in range(_DUMP_ATTEMPTS):
        opened.send(_packed(kind, NLM_F_REQUEST | NLM_F_DUMP, body))
        found, interrupted = _read_dump(opened)
        if not interrupted:
            return found
    raise OSError(errno.EAGAIN, "the kernel's tables change faster than they can be read")


def attributes_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute."""
    offset, end = 0, len(data) - 4
    while offset <= end:
        length, kind = _ATTRIBUTE(data, offset)
        yield kind & _NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3 or 4


def picked(data: bytes, wanted: Container[int], offset: int = 0) -> dict[int, bytes]:
    """Of the attributes from `offset` on those of the wanted types: of a link's forty most are looked at by nobody."""
    found: dict[int, bytes] = {}
    end = len(data) - 4
    while offset <= end:
        length, kind = _ATTRIBUTE(data, offset)
        if kind in wanted:
            found[kind] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3 or 4
    return found


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def number_of(raw: bytes | None) -> int:
    """A 32-bit attribute's value; 0 without it."""
    return int(struct.unpack("=I", raw)[0]) if raw else 0


def _read_dump(opened: socket.socket) -> tuple[list[bytes], bool]:
    found: list[bytes] = []
    interrupted = False
    while True:
        for kind, flags, _, body in _messages(opened.recv(_BUFFER_BYTES)):
            interrupted = interrupted or bool(flags & _NLM_F_DUMP_INTR)
            if kind not in (_NLMSG_DONE, _NLMSG_ERROR):
                found.append(body)
                continue
            if code := _code(body):
                raise OSError(code, os.strerror(code))
            return found, interrupted


def _packed(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _numbered(data: bytes, number: int) -> bytes:
    padding = b"\0" * (-len(data) % 4)
    return data[:8] + struct.pack("=I", number) + data[12:] + padding


def _messages(datagram: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, flags, number, _ = _HEADER.unpack_from(datagram, offset)
        yield kind, flags, number, datagram[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _code(body: bytes) -> int:
    return -int(struct.unpack_from("=i", body)[0])


def _failure(code: int, body: bytes, flags: int) -> OSError:
    return OSError(code, _explanation(body, flags) or os.strerror(code))


def _explanation(body: bytes, flags: int) -> str:
    """The text of NLMSGERR_ATTR_MSG, after the errno and the header of the refused message."""
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    found = dict(attributes_of(body[4 + _HEADER.size :]))
    return found.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
