"""Sockets in containers' own network namespaces: taken from the engine, served, and closed when the container ends.

The server may enter no namespace: the engine makes the sockets there and hands them over, one datagram per container,
with a pidfd of its process. An open socket keeps its namespace alive, so all of a container's are closed as soon as
that process ends. Answering is the server's; this is only whose sockets are open.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from runtime.kernel.sockets import disconnect
from runtime.network.dns.listeners import Listener
from runtime.network.dns.loop import Loop

HAND_FILE = "hand.sock"
MAX_MESSAGE = 4096
MAX_DESCRIPTORS = 250
"""SCM_MAX_FD of unix(7) is 253."""

Kind = tuple[socket.AddressFamily, socket.SocketKind]


@dataclass(slots=True, eq=False)
class Askers:
    """Idle sockets of one container's namespace, to ask its own resolvers from there. Each takes a new port each time.

    A socket that was disconnected has no port (connect(2) to AF_UNSPEC), so the next question's is unguessable again.
    """

    idle: dict[Kind, list[socket.socket]] = field(default_factory=dict)
    closed: bool = False

    def take(self, kind: Kind) -> socket.socket:
        """Raises OSError where none is left."""
        links = self.idle.get(kind)
        if not links:
            raise OSError("no socket is left in the container's namespace")
        return links.pop()

    def give_back(self, link: socket.socket) -> None:
        if self.closed:
            link.close()
            return
        with suppress(OSError):
            disconnect(link)
            with suppress(BlockingIOError):
                while link.type == socket.SOCK_DGRAM and link.recv(1):
                    pass
            self.idle.setdefault((link.family, link.type), []).append(link)
            return
        link.close()

    def close(self) -> None:
        self.closed = True
        for link in (link for links in self.idle.values() for link in links):
            link.close()
        self.idle.clear()


@dataclass(frozen=True, slots=True)
class Handed:
    """One container's sockets."""

    pid: int
    started: int
    pidfd: int
    listener: Listener
    askers: Askers


class Inside:
    """All containers' sockets. `on_udp` and `on_tcp` as of `Listeners`; `on_closed` is told whose were closed."""

    def __init__(
        self,
        loop: Loop,
        on_udp: Callable[[Listener], None],
        on_tcp: Callable[[Listener], None],
        on_closed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._on_udp = on_udp
        self._on_tcp = on_tcp
        self._on_closed = on_closed
        self.open: dict[str, Handed] = {}

    def listen(self) -> None:
        """For the engine, in the working directory."""
        Path(HAND_FILE).unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._socket.bind(HAND_FILE)
        self._loop.watch(self._socket.fileno(), lambda _: self.take(), essential=True)

    def take(self) -> None:
        """Whatever was handed over and is not served yet. A message that is none costs its descriptors, no more."""
        with suppress(BlockingIOError):
            while True:
                message, descriptors, _, _ = socket.recv_fds(self._socket, MAX_MESSAGE, MAX_DESCRIPTORS)
                with _closing(descriptors):
                    self._take(json.loads(message), descriptors)

    def askers(self, listener: Listener) -> Askers | None:
        """Of the container whose listener it is."""
        handed = self.open.get(listener.owner)
        return handed.askers if handed is not None else None

    def _take(self, message: dict[str, object], descriptors: list[int]) -> None:
        owner = str(message["owner"])
        self._close(owner)
        if not descriptors:
            return
        pid, started, address = int(str(message["pid"])), int(str(message["started"])), str(message["address"])
        udp, tcp, *others = _adopted(descriptors[1:])
        pidfd = descriptors[0]
        descriptors.clear()
        askers = Askers()
        for link in others:
            askers.idle.setdefault((link.family, link.type), []).append(link)
        listener = Listener("", address, udp, tcp, owner)
        self.open[owner] = Handed(pid, started, pidfd, listener, askers)
        self._loop.watch(pidfd, lambda _: self._ended(owner, pidfd))
        self._loop.watch(udp.fileno(), lambda _: self._on_udp(listener))
        self._loop.watch(tcp.fileno(), lambda _: self._on_tcp(listener))

    def _ended(self, owner: str, pidfd: int) -> None:
        if owner in self.open and self.open[owner].pidfd == pidfd:
            self._close(owner)

    def _close(self, owner: str) -> None:
        handed = self.open.pop(owner, None)
        if handed is None:
            return
        handed.askers.close()
        for link in (handed.listener.udp, handed.listener.tcp):
            self._loop.forget(link.fileno())
            link.close()
        self._loop.forget(handed.pidfd)
        _close(handed.pidfd)
        self._on_closed(owner)


def _adopted(descriptors: list[int]) -> list[socket.socket]:
    """All of them or none. Raises OSError for what is no socket, ValueError where there are too few."""
    made: list[socket.socket] = []
    try:
        for descriptor in descriptors:
            made.append(socket.socket(fileno=descriptor))
            made[-1].setblocking(False)
        if len(made) < 2:
            raise ValueError("not the two sockets to listen on")
    except (OSError, ValueError):
        for link in made:
            link.detach()
        raise
    return made


@contextmanager
def _closing(descriptors: list[int]) -> Iterator[None]:
    """Close those that nobody has taken, where a message is broken."""
    try:
        yield
    except (ValueError, KeyError, TypeError, OSError):
        pass
    finally:
        for descriptor in descriptors:
            _close(descriptor)


def _close(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)
