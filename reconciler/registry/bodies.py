"""What a client sends, read in pieces: bounded, and never waited for without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from reconciler.registry.errors import Denied

PIECE = 1 << 20


async def pieces(request: web.Request, stall_seconds: float) -> AsyncIterator[bytes]:
    """The body, about a MiB each; the last is shorter.

    Raises Denied for a client that stalls, ConnectionError for one that left; in both cases after what came of it.
    """
    gathered = bytearray()
    broken: Exception | None = None
    while True:
        try:
            async with asyncio.timeout(stall_seconds):
                chunk = await request.content.readany()
        except TimeoutError:
            broken = Denied(408, "BLOB_UPLOAD_INVALID", "the client sends nothing", {"Connection": "close"})
            break
        except (web.PayloadAccessError, ConnectionError, aiohttp.ClientPayloadError) as error:
            broken = ConnectionError(f"the client left: {error}")
            break
        if not chunk:
            break
        gathered += chunk
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
    if broken is not None:
        raise broken


async def whole(request: web.Request, limit: int, stall_seconds: float) -> bytes:
    """All of the body. Raises Denied where it is longer than `limit` bytes."""
    large = Denied(413, "SIZE_INVALID", f"more than {limit} bytes are not taken", {"Connection": "close"})
    if (request.content_length or 0) > limit:
        raise large
    gathered = bytearray()
    async for piece in pieces(request, stall_seconds):
        gathered += piece
        if len(gathered) > limit:
            raise large
    return bytes(gathered)
