"""What the host already uses: routes and listening ports, so that nothing of ours collides with them.

Called by the planner's callers before a subnet or a host port is taken. Reads the calling thread's namespace.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from runtime.network import netlink
from runtime.network.addresses import read_routes
from runtime.network.border import border
from runtime.network.records import Address, Listener, Protocol, Route

_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DIAG_V6ONLY = 11
_TCP_LISTEN, _TCP_CLOSE = 10, 7
_REQUEST = struct.Struct("=BBBBI48s")
_DONE, _ERROR = 3, 2
_BUFFER_BYTES = 1 << 16
_KINDS = (
    (Protocol.TCP, socket.IPPROTO_TCP, 1 << _TCP_LISTEN),
    (Protocol.UDP, socket.IPPROTO_UDP, 1 << _TCP_CLOSE),  # a UDP socket that is bound and not connected
    (Protocol.SCTP, 132, 1 << _TCP_LISTEN),
)


@border("host")
def read_host_routes() -> tuple[Route, ...]:
    """Every unicast route of every table, default routes included. Raises Refused, RetryLater."""
    with netlink.route_socket() as opened:
        return tuple(read_routes(opened, dict(socket.if_nameindex()), every_table=True))


@border("host")
def read_listeners() -> frozenset[Listener]:
    """Every port that a process of the host listens at, as sock_diag(7) tells. Raises Refused, RetryLater."""
    found: set[Listener] = set()
    for protocol, number, states in _KINDS:
        for family in (socket.AF_INET, socket.AF_INET6):
            found.update(_listeners(protocol, number, family, states))
    return frozenset(found)


def read_process_of(listener: Listener) -> str:
    """The name and pid of a process that holds the listener's socket; empty when none can be found.

    Searches every process's descriptors: for the one line of an error message, not for all listeners.
    """
    wanted = f"socket:[{listener.inode}]"
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and _holds(directory, wanted):
            return f"{(directory / 'comm').read_text().strip()} (pid {directory.name})"
    return ""


def _holds(process: Path, wanted: str) -> bool:
    try:
        with os.scandir(process / "fd") as entries:
            return any(os.readlink(entry) == wanted for entry in entries)  # noqa: PTH115
    except OSError:
        return False  # it ended meanwhile, or is not ours to see


def _listeners(protocol: Protocol, number: int, family: int, states: int) -> Iterator[Listener]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as opened:
        opened.settimeout(10)  # seconds
        body = _REQUEST.pack(family, number, 1 << (_DIAG_V6ONLY - 1) & 0xFF, 0, states, b"\0" * 48)
        opened.send(struct.pack("=IHHII", 16 + len(body), _SOCK_DIAG_BY_FAMILY, 0x301, 1, 0) + body)
        while True:
            for kind, message in _messages(opened.recv(_BUFFER_BYTES)):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", message)[0]
                    if code in (errno.ENOENT, errno.EINVAL):  # a protocol that this kernel lacks
                        return
                    raise OSError(code, os.strerror(code))
                listener = _listener(protocol, message)
                if listener.port:
                    yield listener


def _listener(protocol: Protocol, message: bytes) -> Listener:
    """From `struct inet_diag_msg` and the attributes behind it."""
    family = message[0]
    port = struct.unpack_from("!H", message, 4)[0]
    raw = message[8:24] if family == socket.AF_INET6 else message[8:12]
    address = ip_address(raw)
    inode = struct.unpack_from("=I", message, 68)[0]
    both = family == socket.AF_INET6 and address.is_unspecified and not _is_v6_only(message[72:])
    version = 0 if both else address.version
    return Listener(protocol, _specific(address), port, version, inode)


def _specific(address: Address) -> Address | None:
    mapped = getattr(address, "ipv4_mapped", None)
    return None if address.is_unspecified else mapped or address


def _is_v6_only(attributes: bytes) -> bool:
    offset = 0
    while offset + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, offset)
        if kind == _DIAG_V6ONLY:
            return attributes[offset + 4] != 0
        offset += max((length + 3) & ~3, 4)
    return False


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 16 <= len(datagram):
        length, kind = struct.unpack_from("=IH", datagram, offset)
        yield kind, datagram[offset + 16 : offset + length]
        offset += (length + 3) & ~3
