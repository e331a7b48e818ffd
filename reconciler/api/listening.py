"""Begin to hear the API: every address its listener, one application behind them all."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from reconciler.api.application import application
from reconciler.api.served import Served
from reconciler.api.sockets import BACKLOG, tcp_listener, unix_listener
from reconciler.daemon.settings import Settings
from schemas.errors import Refused

IDLE_SECONDS = 15.0
"""A connection that sends no whole request, or does not end its TLS handshake, for so long is closed."""
LINE_BYTES = 8190
DEFAULT_PORT = 8443
LOOPBACK = ("127.0.0.1", "::1", "localhost")


async def listen(stack: AsyncExitStack, served: Served, settings: Settings) -> list[str]:
    """The addresses. Raises Refused for one that cannot be had."""
    addresses = list(settings.listen) or [f"unix://{served.layout.api_socket}"]
    idle = min(IDLE_SECONDS, settings.patience)
    runner = web.AppRunner(
        application(served),
        access_log=None,
        keepalive_timeout=idle,
        max_line_size=LINE_BYTES,
        max_field_size=LINE_BYTES,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for address in addresses:
        listener, context = _heard(stack, settings, address)
        assert runner.server is not None
        server = await asyncio.get_running_loop().create_server(
            runner.server,
            sock=listener,
            ssl=context,
            backlog=BACKLOG,
            ssl_handshake_timeout=idle if context is not None else None,
        )
        stack.callback(server.close)
    return addresses


def _heard(stack: AsyncExitStack, settings: Settings, address: str) -> tuple[socket.socket, ssl.SSLContext | None]:
    scheme, separator, rest = address.partition("://")
    if separator and scheme == "unix":
        path = Path(rest).absolute()
        listener = unix_listener(path, settings.group)
        stack.callback(path.unlink, missing_ok=True)
        return listener, None
    if separator and scheme == "tcp":
        host, port = read_address(rest, address)
        context = _tls(settings, host, address)
        return tcp_listener(host, port), context
    raise Refused("write unix://PATH or tcp://HOST:PORT", step="listen", path=address)


def read_address(text: str, whole: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:PORT`, `HOST`. Raises Refused."""
    host, colon, port = text.rstrip("/").rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text.rstrip("/"), str(DEFAULT_PORT)
    if not port.isdigit() or int(port) > 65535 or not host:
        raise Refused("write tcp://HOST:PORT", step="listen", path=whole)
    return host.strip("[]"), int(port)


def _tls(settings: Settings, host: str, address: str) -> ssl.SSLContext | None:
    """Clients must show a certificate that the given authority signed. None: plain, which must be asked for."""
    files = (settings.tls_ca, settings.tls_certificate, settings.tls_key)
    if not any(files):
        if settings.insecure_tcp and host in LOOPBACK:
            return None
        hint = "`trimtab system certs` makes them; on loopback --insecure-tcp lets it be plain"
        raise Refused("tcp:// needs tls_ca, tls_certificate and tls_key", step="listen", path=address, hint=hint)
    if not all(files):
        raise Refused("tls_ca, tls_certificate and tls_key belong together", step="listen", path=address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(settings.tls_ca)
        context.load_cert_chain(str(settings.tls_certificate), str(settings.tls_key))
        if settings.tls_revoked is not None:
            context.load_verify_locations(settings.tls_revoked)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except OSError as error:
        raise Refused(f"the certificates cannot be used: {error}", step="listen", path=address) from error
    return context
