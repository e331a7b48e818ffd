"""The host's own resolvers: `nameserver` lines of its resolv.conf, read again whenever the file changed.

Asked by the forwarder before each question. The file is looked at by its identity (a stat follows the link that
systemd-resolved and others make of it), so no change is missed and none is waited for.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path

PORT = 53
MAX_RESOLVERS = 6
MAX_FILE_BYTES = 65536

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


class HostResolvers:
    """Addresses of the host's resolvers at this moment, in the file's order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int, int] | None = None
        self._addresses: tuple[str, ...] = ()

    def read(self) -> tuple[str, ...]:
        """Empty where the file is absent or names none."""
        try:
            status = self._path.stat()
        except OSError:
            self._seen, self._addresses = None, ()
            return ()
        seen = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            self._seen, self._addresses = seen, self._read_file()
        return self._addresses

    def _read_file(self) -> tuple[str, ...]:
        try:
            with self._path.open("rb") as file:
                return nameservers(file.read(MAX_FILE_BYTES).decode("utf-8", "replace"))
        except OSError:
            return ()


def nameservers(text: str) -> tuple[str, ...]:
    """The usable addresses of a resolv.conf(5), in order, without doubles."""
    found: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            with suppress(ValueError):
                found.append(str(ip_address(words[1])))
    return tuple(dict.fromkeys(found))[:MAX_RESOLVERS]


def socket_address(address: str) -> tuple[socket.AddressFamily, SocketAddress]:
    """Family and socket address of a resolver; `fe80::1%eth0` by its link. Raises OSError where the link is gone."""
    parsed = ip_address(address)
    if not isinstance(parsed, IPv6Address):
        return socket.AF_INET, (address, PORT)
    scope = parsed.scope_id
    index = (int(scope) if scope.isdigit() else socket.if_nametoindex(scope)) if scope else 0
    return socket.AF_INET6, (address.partition("%")[0], PORT, 0, index)
