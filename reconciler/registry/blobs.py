"""Blobs of a repository: read, asked for, removed. Source: distribution-spec 1.1, "Pulling blobs", "Deleting Blobs"."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from reconciler.daemon.log import logger
from reconciler.registry.errors import Denied, unknown_blob, unsupported
from reconciler.registry.fetching import Fetching
from reconciler.registry.paths import Asked
from reconciler.registry.served import Served
from runtime.images.hosted.keeping import find_blob
from schemas.errors import Refused, TrimtabError

LOG = logger("registry")
MEDIA_TYPE = "application/octet-stream"


async def read_blob(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    """GET and HEAD; ranges as RFC 9110 section 14 has them."""
    size = await served.do(find_blob, served.layout, served.catalog, asked.name, asked.pin)
    headers = {"Content-Type": MEDIA_TYPE, "Docker-Content-Digest": asked.pin, "Accept-Ranges": "bytes"}
    if size is None and served.mirror is not None:
        fetching = await served.mirror.fetch_blob(asked.name, asked.pin)
        if fetching is not None and request.method == "GET" and "Range" not in request.headers:
            return await _pass_on(served, request, fetching, headers)
        size = await _arrived(fetching) if fetching is not None else None
    if size is None:
        raise unknown_blob(asked.pin)
    if request.method == "HEAD" and "Range" not in request.headers:
        return web.Response(headers=headers | {"Content-Length": str(size)})
    _require_range(request, size)
    return await _send(request, _File(served.store.path(asked.pin), headers=headers))


class _File(web.FileResponse):
    """Sent once, though aiohttp prepares what a handler returns once more."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None if self.prepared else await super().prepare(request)


async def _send(request: web.Request, response: web.FileResponse) -> web.StreamResponse:
    """While the request still counts as one under way. Who leaves or takes nothing for too long gets no more."""
    try:
        await response.prepare(request)
    except OSError:
        if request.transport is not None:
            request.transport.abort()
    return response


async def _arrived(fetching: Fetching) -> int | None:
    try:
        await fetching.wait()
    except Refused:
        return None
    return fetching.size


async def _pass_on(
    served: Served, request: web.Request, fetching: Fetching, headers: Mapping[str, str]
) -> web.StreamResponse:
    """What comes from the mirrored registry, while it comes. One that turns out wrong ends before its end."""
    response = web.StreamResponse(headers=headers)
    response.content_length = fetching.size
    async with aclosing(fetching.pieces(served.store)) as pieces:
        try:
            async for piece in pieces:
                if not response.prepared:
                    await response.prepare(request)
                await response.write(piece)
        except TrimtabError as error:
            if not response.prepared:
                raise unknown_blob(fetching.digest) if isinstance(error, Refused) else error from error
            LOG.warning("a mirrored blob broke off", digest=fetching.digest, error=str(error))
            if request.transport is not None:
                request.transport.abort()
            return response
    if not response.prepared:
        await response.prepare(request)
    await response.write_eof()
    return response


def _require_range(request: web.Request, size: int) -> None:
    try:
        asked = request.http_range
    except ValueError:
        asked = slice(size, None)
    if asked.start is not None and asked.start >= max(size, 1) and "Range" in request.headers:
        headers = {"Content-Range": f"bytes */{size}"}
        raise Denied(416, "SIZE_INVALID", f"the blob has {size} bytes", headers)


async def remove_blob(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    if served.mirror is not None:
        raise unsupported("a mirror forgets by itself")
    if not await served.do(served.catalog.remove_blob, asked.name, asked.pin):
        raise unknown_blob(asked.pin)
    return web.Response(status=202)
