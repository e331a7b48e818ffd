"""Forget tracked connections that are answered by an address that is gone.

Called by `depart.py` and by the reconciler, with addresses as text. A new TCP connection finds a new replica anyhow; a
UDP client that keeps its port would be sent to the dead one for as long as it keeps trying. Standard library only:
ctnetlink messages by hand (linux/netfilter/nfnetlink_conntrack.h).
"""

from __future__ import annotations

import errno
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NETLINK_NETFILTER = 12
_SUBSYSTEM, _GET, _DELETE = 1 << 8, 1, 2
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_TUPLE_ORIG, _TUPLE_REPLY, _ZONE, _FILTER = 1, 2, 18, 25
_TUPLE_IP, _FILTER_REPLY_FLAGS, _FILTER_IP_SRC = 1, 2, 1
_IP_SOURCE: dict[int, int] = {socket.AF_INET: 1, socket.AF_INET6: 3}
_BUFFER_BYTES = 1 << 16


def forget_connections(addresses: Iterable[str]) -> int:
    """Delete the connections that each address answers, in the calling thread's namespace; how many there were.

    A kernel without connection tracking has none. Raises OSError.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as opened:
            opened.bind((0, 0))
            opened.settimeout(10)  # seconds
            return sum(_forget(opened, address) for address in addresses)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EPROTONOSUPPORT, errno.ENOENT):
            return 0
        raise


def _forget(opened: socket.socket, address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = list(_answered_by(opened, family, socket.inet_pton(family, address)))
    for identity in found:
        opened.send(_message(_DELETE, _REQUEST | _ACK, family, identity))
        for _, body in _messages(opened.recv(_BUFFER_BYTES)):
            code = -struct.unpack_from("=i", body)[0]
            if code not in (0, errno.ENOENT):
                raise OSError(code, os.strerror(code))
    return len(found)


def _answered_by(opened: socket.socket, family: int, address: bytes) -> Iterator[bytes]:
    """The attributes that name each connection whose answers come from `address`."""
    opened.send(_message(_GET, _REQUEST | _DUMP, family, _search(family, address)))
    while True:
        for kind, body in _messages(opened.recv(_BUFFER_BYTES)):
            if kind in (_DONE, _ERROR):
                code = -struct.unpack_from("=i", body)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                return
            found = dict(_attributes(body[4:]))
            if _source(found[_TUPLE_REPLY], family) == address:
                yield b"".join(found[kind] for kind in (_TUPLE_ORIG, _ZONE) if kind in found)


def _search(family: int, address: bytes) -> bytes:
    """Let the kernel search where it can: for IPv6 addresses it finds all the others (seen up to Linux 6.18)."""
    if family == socket.AF_INET6:
        return b""
    source = _attribute(_TUPLE_IP | _NESTED, _attribute(_IP_SOURCE[family], address))
    by_source = _attribute(_FILTER_REPLY_FLAGS, struct.pack("=I", _FILTER_IP_SRC))
    return _attribute(_TUPLE_REPLY | _NESTED, source) + _attribute(_FILTER | _NESTED, by_source)


def _source(tuple_: bytes, family: int) -> bytes:
    """The source address in a raw CTA_TUPLE_* attribute."""
    for kind, raw in _attributes(tuple_[4:]):
        if kind == _TUPLE_IP:
            return next((value[4:] for one, value in _attributes(raw[4:]) if one == _IP_SOURCE[family]), b"")
    return b""


def _message(command: int, flags: int, family: int, attributes: bytes) -> bytes:
    body = struct.pack("=BBH", family, 0, 0) + attributes
    return struct.pack("=IHHII", 16 + len(body), _SUBSYSTEM | command, flags, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 16 <= len(datagram):
        length, kind = struct.unpack_from("=IH", datagram, offset)
        yield kind, datagram[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        padded = (length + 3) & ~3
        yield kind & _TYPE_MASK, data[offset : offset + padded]
        offset += max(padded, 4)
