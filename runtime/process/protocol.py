"""How client, launcher, monitor and init talk: JSON objects, with descriptors, over SEQPACKET sockets.

One message is one datagram, so nobody parses streams. What does not fit (a big environment) travels in a memfd.
`PROTOCOL` grows when old and new code could misunderstand each other; `fingerprint` names the code itself.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

PROTOCOL = 1

INLINE_BYTES = 60_000
"""Largest message sent inline: well under the default send buffer of a UNIX socket."""

MAX_DESCRIPTORS = 250
"""The kernel's SCM_MAX_FD is 253."""

MAX_ADDRESS = 108
"""Bytes of `sun_path` (unix(7)), the final zero included."""

Message = dict[str, Any]


def send(channel: socket.socket, message: Message, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message; `descriptors` are duplicated into the receiver."""
    data = json.dumps(message).encode()
    overflow = -1
    if len(data) > INLINE_BYTES:
        overflow = os.memfd_create("message", os.MFD_CLOEXEC)
        os.pwrite(overflow, data, 0)
        data, descriptors = b"", (*descriptors, overflow)
    try:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        # an empty datagram reads like the end, so the overflow's is one blank
        channel.sendmsg([data or b" "], rights, socket.MSG_NOSIGNAL)
    finally:
        if overflow >= 0:
            os.close(overflow)


def receive(channel: socket.socket) -> tuple[Message, list[int]] | None:
    """Receive one message and its descriptors (close-on-exec); None when the other side has closed."""
    try:
        data, rights = _receive_once(channel)
    except ConnectionResetError:
        # the other side has closed without reading all of ours: what it sent before is still to be had
        data, rights = _receive_once(channel)
    descriptors = array.array("i")
    for level, kind, payload in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % 4])
    if not data:
        return None
    if data == b" ":
        data = _read_all(descriptors.pop())
    message: Message = json.loads(data)
    return message, list(descriptors)


def _receive_once(channel: socket.socket) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    return channel.recvmsg(INLINE_BYTES + 1, socket.CMSG_SPACE(MAX_DESCRIPTORS * 4), socket.MSG_CMSG_CLOEXEC)[:2]


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read()


def listen(path: str) -> socket.socket:
    """A listening socket at `path`, for its owner only; an older socket there is replaced."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    temporary = f"{path}.{os.getpid()}"
    with _short(temporary) as address:
        server.bind(address)
    os.chmod(temporary, 0o600)
    server.listen(128)
    # renamed once it answers: whoever finds the name finds a listener
    os.rename(temporary, path)
    return server


def connect(path: str) -> socket.socket:
    """A connection to the socket at `path`, whose name may be longer than a UNIX address holds."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _short(path) as address:
            channel.connect(address)
    except BaseException:
        channel.close()
        raise
    return channel


@contextmanager
def _short(path: str) -> Iterator[str]:
    """`path`, or the same by way of its directory's descriptor where a UNIX address cannot hold it."""
    if len(os.fsencode(path)) < MAX_ADDRESS:
        yield path
        return
    parent, _, name = path.rpartition("/")
    directory = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{name}"
    finally:
        os.close(directory)


def peer_uid(channel: socket.socket) -> int:
    """The user on the other side (SO_PEERCRED): as it was when it connected."""
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    uid: int = struct.unpack("iII", credentials)[1]
    return uid


def has_left(channel: socket.socket) -> bool:
    """Whether the other side has closed, without waiting, and without taking what it may have sent."""
    try:
        return not channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@cache
def fingerprint() -> str:
    """Name the code this process runs: changes when any file of this room or of the kernel room does."""
    return read_fingerprint()


def read_fingerprint() -> str:
    """Name the code on disk now."""
    room = os.path.dirname(os.path.abspath(__file__))
    marks = []
    for directory in (room, os.path.join(os.path.dirname(room), "kernel")):
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    status = entry.stat()
                    marks.append(f"{entry.name}:{status.st_size}:{status.st_mtime_ns}")
    return f"{PROTOCOL}-{_checksum(sorted(marks))}"


def _checksum(marks: list[str]) -> str:
    import zlib

    return f"{zlib.crc32(chr(10).join(marks).encode()):08x}"
