"""Requests that a web page makes by somebody's browser: refused, since the browser stands where the page may not.

A browser says by `Origin` and `Sec-Fetch-Site` (Fetch, "Forbidden request-headers": pages cannot change them) that it
asks for another site's page. A page whose name was made to lead here (DNS rebinding) is of the same site to it: on
plain TCP, which is heard on loopback alone, `Host` must be a name of this machine. Clients of ours send neither.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

WEBHOOKS = "/hooks/"
"""Handed on by web servers, under whatever name; they prove themselves by a signature."""


def refuse_pages(request: web.Request) -> None:
    """Raises HTTPForbidden."""
    if request.path.startswith(WEBHOOKS):
        return
    headers = request.headers
    host = headers.get("Host", "")
    if is_foreign_page(headers.get("Origin"), headers.get("Sec-Fetch-Site"), host):
        raise web.HTTPForbidden(reason="web pages of other sites may not ask")
    if _is_plain_tcp(request) and not is_loopback(host):
        raise web.HTTPForbidden(reason="the host asked for is not this machine's loopback")


def is_foreign_page(origin: str | None, site: str | None, host: str) -> bool:
    if site in ("cross-site", "same-site"):
        return True
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()


def is_loopback(host: str) -> bool:
    """Of a `Host` header, with a port or without; also where there is none, as no browser's is."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return not host or name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _is_plain_tcp(request: web.Request) -> bool:
    if request.transport is None or request.transport.get_extra_info("sslcontext") is not None:
        return False
    channel: Any = request.transport.get_extra_info("socket")
    return channel is not None and channel.family in (socket.AF_INET, socket.AF_INET6)
