"""The sockets of each network's gateway: opened and closed to follow the records.

Port 53 over UDP and TCP, bound to the gateway's address alone, so a reply comes from where the question went and
nothing of the host's own port 53 is taken. IP_FREEBIND lets a socket stand before its bridge does. An address that
cannot be had is tried again and told in the server's status. What arrives is handed on, unread.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_interface

from runtime.network.dns.loop import Loop

PORT = 53
IP_FREEBIND, IPV6_FREEBIND = 15, 78
RETRY_SECONDS = 2.0
BACKLOG = 64
HINTS = {
    errno.EADDRINUSE: "another DNS server of this host holds port 53 of every address; have it bind to its own",
    errno.EACCES: "CAP_NET_BIND_SERVICE is lacking",
    errno.EMFILE: "the limit of open files is reached",
}

Key = tuple[str, str]
"""Network and address."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Both sockets of one address of one network; or of one container (`owner`), in its own network namespace."""

    network: str
    address: str
    udp: socket.socket
    tcp: socket.socket
    owner: str = ""

    def client(self, address: str) -> str:
        """Who asks: by address in a network. Within a namespace all addresses are the container's."""
        return f"@{self.owner}" if self.owner else address


class Listeners:
    """Follows the wanted addresses. `on_udp` and `on_tcp` are called when a listener's socket is readable."""

    def __init__(self, loop: Loop, on_udp: Callable[[Listener], None], on_tcp: Callable[[Listener], None]) -> None:
        self._loop = loop
        self._on_udp = on_udp
        self._on_tcp = on_tcp
        self.open: dict[Key, Listener] = {}
        self.failed: dict[Key, str] = {}
        self.addresses: frozenset[str] = frozenset()
        self._retry_at: float | None = None

    def follow(self, wanted: Iterable[Key], now: float) -> set[str]:
        """Close what is no longer wanted, open what is; the networks of which something was closed."""
        keys = set(wanted)
        closed = [key for key in self.open if key not in keys]
        for key in closed:
            self._close(self.open.pop(key))
        self.failed.clear()
        for key in sorted(keys - self.open.keys()):
            try:
                self.open[key] = self._listen(*key)
            except OSError as error:
                number = error.errno or 0
                hint = HINTS.get(number)
                self.failed[key] = os.strerror(number) + (f"; {hint}" if hint else "")
        self._retry_at = now + RETRY_SECONDS if self.failed else None
        self.addresses = frozenset(address for _, address in self.open)
        return {network for network, _ in closed}

    def next_deadline(self) -> float | None:
        """When to call `follow` again for the addresses that failed; None: not at all."""
        return self._retry_at

    def _listen(self, network: str, address: str) -> Listener:
        udp = bound(address, socket.SOCK_DGRAM)
        try:
            tcp = bound(address, socket.SOCK_STREAM)
        except OSError:
            udp.close()
            raise
        tcp.listen(BACKLOG)
        listener = Listener(network, address, udp, tcp)
        self._loop.watch(udp.fileno(), lambda _: self._on_udp(listener), essential=True)
        self._loop.watch(tcp.fileno(), lambda _: self._on_tcp(listener), essential=True)
        return listener

    def _close(self, listener: Listener) -> None:
        for each in (listener.udp, listener.tcp):
            self._loop.forget(each.fileno())
            each.close()


def bound(address: str, kind: socket.SocketKind) -> socket.socket:
    """A non-blocking socket on port 53 of `address`, whether or not the host has that address yet."""
    six = ip_interface(address).version == 6
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if six:
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        else:
            made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, PORT))
    except OSError:
        made.close()
        raise
    return made
