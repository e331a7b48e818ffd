"""`/metrics`: what a Prometheus server reads."""

from __future__ import annotations

from aiohttp import web

from reconciler.api.declared import Asked
from reconciler.daemon.meters import CONTENT_TYPE

MEDIA = "text/plain"


async def metrics(asked: Asked) -> web.StreamResponse:
    """The daemon's meters as they stand."""
    return web.Response(body=asked.served.meters.text(), headers={"Content-Type": CONTENT_TYPE})
