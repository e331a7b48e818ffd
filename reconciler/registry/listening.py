"""Where the registry is heard: one TCP address, this machine's own unless told otherwise, else with TLS."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack

from aiohttp import web

from reconciler.api.sockets import BACKLOG, tcp_listener
from reconciler.registry.access import Access
from reconciler.registry.application import application
from reconciler.registry.served import Served
from reconciler.registry.settings import PORT, Settings
from runtime.images.registry.transport import is_loopback
from schemas.errors import Refused

LINE_BYTES = 8190
"""Of a request line and of a header; more is answered with 400."""


async def listen(stack: AsyncExitStack, served: Served) -> str:
    """The address. Raises Refused for one that cannot be had, or that would be open to more than was said."""
    settings = served.settings
    require_closed(settings)
    certificates = served.certificates
    access = Access(settings)
    runner = web.AppRunner(
        application(served, access),
        access_log=None,
        keepalive_timeout=settings.stall_seconds,
        lingering_time=1.0,
        max_line_size=LINE_BYTES,
        max_field_size=LINE_BYTES,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    listener = tcp_listener(settings.host, settings.port)
    # a client that takes nothing of what it asked for; connections inherit it
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(settings.stall_seconds * 1000))
    context = certificates.context if certificates is not None else None
    await web.SockSite(runner, listener, ssl_context=context, backlog=BACKLOG).start()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if context else 'http'}://{host}:{listener.getsockname()[1]}"


def read_listen(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `HOST`, `[::1]:PORT`, `:PORT` (this machine alone). Raises Refused."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise Refused("write HOST:PORT", step="listen", path=text)
    return host.strip("[]") or "127.0.0.1", int(port)


def require_closed(settings: Settings) -> None:
    """Raises Refused: plain HTTP, or a registry without passwords, that others than this machine can reach."""
    place = f"{settings.host}:{settings.port}"
    if settings.htpasswd is not None and settings.anonymous == "push":
        raise Refused("--anonymous push makes --htpasswd useless", step="listen", path=place, hint="give one of them")
    if settings.htpasswd is None and (settings.rights is not None or settings.tokens):
        raise Refused("--rights and --tokens are about names: they need --htpasswd", step="listen", path=place)
    if settings.rights is not None and settings.anonymous:
        hint = "a line of the rights for `-` says what somebody without a name may do"
        raise Refused("--rights and --anonymous contradict each other", step="listen", path=place, hint=hint)
    if is_loopback(settings.host):
        return
    if settings.tls_certificate is None and not settings.insecure:
        hint = "`trimtab system certs` makes certificates; --insecure lets it be plain HTTP"
        raise Refused("others can reach this address: it needs TLS", step="listen", path=place, hint=hint)
    if settings.htpasswd is None and settings.tls_ca is None and not settings.anonymous:
        hint = "give --htpasswd (`trimtab registry passwd` writes one), --tls-ca, or --anonymous"
        raise Refused("others can reach this address: it needs passwords", step="listen", path=place, hint=hint)
