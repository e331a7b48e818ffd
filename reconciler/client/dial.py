"""A connection to a daemon: a socket, whatever lies between."""

from __future__ import annotations

import socket

from reconciler.client.host import Host

CONNECT_SECONDS = 10.0
DEFAULT_PORT = 8443


class Unreachable(Exception):
    """No daemon answers there."""


def dial(host: Host) -> socket.socket:
    """Raises Unreachable."""
    scheme, separator, rest = host.address.partition("://")
    try:
        if separator and scheme == "unix":
            return _unix(rest)
        if separator and scheme in ("tcp", "tcp+insecure"):
            return _tcp(host, rest, plain=scheme == "tcp+insecure")
        if separator and scheme == "ssh":
            from reconciler.client.ssh import dial_ssh

            return dial_ssh(rest)
    except (OSError, ValueError) as error:
        told = f"{host.address}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
        raise Unreachable(told) from error
    raise Unreachable(f"{host.address!r} is no host: write unix://PATH, tcp://HOST:PORT, ssh://[USER@]HOST or none")


def _unix(path: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.connect(path)
    except OSError:
        channel.close()
        raise
    return channel


def _tcp(host: Host, rest: str, *, plain: bool) -> socket.socket:
    name, _, port = rest.rstrip("/").rpartition(":") if ":" in rest.rpartition("]")[2] else (rest.rstrip("/"), "", "")
    name = name.strip("[]")
    if plain and name not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(f"{host.address}: tcp+insecure:// is for this machine alone")
    channel = socket.create_connection((name, int(port or DEFAULT_PORT)), CONNECT_SECONDS)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not plain:
        from reconciler.client.tls import wrapped

        channel = wrapped(channel, name, host.tls)
    channel.settimeout(None)
    return channel
