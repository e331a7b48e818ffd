"""Blobs on their way into a repository: begun, appended to, asked about, finished, given up, mounted.

Source: distribution-spec 1.1, "Pushing blobs", "Cancel a blob upload", "Mounting a blob from another repository".
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from reconciler.registry.bodies import pieces
from reconciler.registry.errors import Denied, unknown_upload, unsupported
from reconciler.registry.paths import Asked
from reconciler.registry.rights import PULL
from reconciler.registry.served import Served
from runtime.images.blobs import DigestMismatch
from runtime.images.digests import is_digest
from runtime.images.hosted.keeping import mount_blob
from runtime.images.hosted.names import is_repository
from runtime.images.hosted.uploads import Upload
from schemas.errors import RetryLater

_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?", re.ASCII)
ALGORITHMS = ("sha256", "sha512")


async def begin_upload(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    """POST: an upload, or at once a blob that is sent along or that another repository has."""
    if served.mirror is not None:
        raise unsupported("a mirror takes nothing")
    digest, mount = request.query.get("digest"), request.query.get("mount")
    for each in (digest, mount):
        _require_digest(each)
    algorithm = request.query.get("digest-algorithm", digest.partition(":")[0] if digest else "sha256")
    if algorithm not in ALGORITHMS:
        raise Denied(400, "DIGEST_INVALID", f"{algorithm[:40]!r} is none of {', '.join(ALGORITHMS)}")
    source = request.query.get("from", "")
    if mount is not None and _may_take(asked, source) and await _mounted(served, asked.name, mount, source):
        return _done(asked.name, mount)
    try:
        upload = await served.do(served.uploads.begin, asked.name, algorithm)
    except RetryLater as error:
        raise Denied(429, "TOOMANYREQUESTS", error.message, {"Retry-After": "60"}) from error
    if digest is None:
        return _state(upload, 202)
    try:
        return await _finish(served, request, upload, digest)
    finally:
        # nobody was told its name
        await served.do(served.uploads.drop, upload)


def _may_take(asked: Asked, source: str) -> bool:
    """From there, or from wherever it is: only who may pull it."""
    visitor = asked.visitor
    return visitor.may(PULL, source) if source else visitor.sees_all and visitor.granted is None


async def _mounted(served: Served, name: str, digest: str, source: str) -> bool:
    if source and not is_repository(source):
        return False
    return await served.do(mount_blob, served.layout, served.catalog, name, digest, source)


async def append(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    """PATCH: the next chunk, or all of it as a stream."""
    async with _taken(served, asked) as upload:
        await _receive(served, request, upload)
        return _state(upload, 202)


async def finish(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    """PUT: perhaps a last chunk, and the digest of the whole."""
    digest = request.query.get("digest")
    if digest is None:
        raise Denied(400, "DIGEST_INVALID", "the digest is missing")
    _require_digest(digest)
    async with _taken(served, asked) as upload:
        return await _finish(served, request, upload, digest)


async def ask_upload(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    """GET: how much has arrived."""
    return _state(await _found(served, asked), 204)


async def give_up(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    """DELETE."""
    async with _taken(served, asked) as upload:
        await served.do(served.uploads.drop, upload)
    return web.Response(status=204)


async def _found(served: Served, asked: Asked) -> Upload:
    upload = await served.do(served.uploads.find, asked.name, asked.pin)
    if upload is None:
        raise unknown_upload()
    return upload


@asynccontextmanager
async def _taken(served: Served, asked: Asked) -> AsyncIterator[Upload]:
    """The upload, for this request alone."""
    upload = await _found(served, asked)
    if upload.is_busy:
        raise Denied(409, "BLOB_UPLOAD_INVALID", "another request writes to this upload", {"Retry-After": "1"})
    upload.is_busy = True
    try:
        yield upload
    finally:
        upload.is_busy = False


async def _finish(served: Served, request: web.Request, upload: Upload, digest: str) -> web.StreamResponse:
    await _receive(served, request, upload)
    try:
        await served.do(served.uploads.finish, upload, served.layout, served.catalog, digest)
    except DigestMismatch as error:
        raise Denied(400, "DIGEST_INVALID", error.message) from error
    return _done(upload.repository, digest)


async def _receive(served: Served, request: web.Request, upload: Upload) -> None:
    """What the request holds, appended. Raises Denied for a chunk that is not the next one."""
    begins, ends = upload.offset, None
    if "Content-Range" in request.headers:
        begins, ends = _range(request.headers["Content-Range"])
        if begins != upload.offset:
            raise _out_of_order(upload)
        if request.content_length is not None and request.content_length != ends - begins + 1:
            raise Denied(400, "SIZE_INVALID", "Content-Length and Content-Range tell different lengths")
    limit = served.settings.blob_bytes
    if begins + (request.content_length or 0) > limit:
        raise _too_large(limit)
    async for piece in pieces(request, served.settings.stall_seconds):
        if upload.offset + len(piece) > limit:
            raise _too_large(limit)
        await served.do(upload.write, piece)
    if ends is not None and upload.offset != ends + 1:
        raise Denied(400, "SIZE_INVALID", "the chunk is not as long as its Content-Range says")


def _range(text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    if not found or int(found[2]) < int(found[1]):
        raise Denied(416, "BLOB_UPLOAD_INVALID", f"{text[:60]!r} is no range; write FIRST-LAST")
    return int(found[1]), int(found[2])


def _out_of_order(upload: Upload) -> Denied:
    message = f"the next byte is {upload.offset}"
    return Denied(416, "BLOB_UPLOAD_INVALID", message, _place(upload) | {"Connection": "close"})


def _too_large(limit: int) -> Denied:
    return Denied(413, "SIZE_INVALID", f"blobs of more than {limit} bytes are not taken", {"Connection": "close"})


def _require_digest(digest: str | None) -> None:
    if digest is not None and not is_digest(digest):
        raise Denied(400, "DIGEST_INVALID", f"{digest[:160]!r} is no digest of sha256 or sha512")


def _place(upload: Upload) -> dict[str, str]:
    return {
        "Location": f"/v2/{upload.repository}/blobs/uploads/{upload.name}",
        "Range": f"0-{max(0, upload.offset - 1)}",
        "Docker-Upload-UUID": upload.name,
    }


def _state(upload: Upload, status: int) -> web.Response:
    return web.Response(status=status, headers=_place(upload))


def _done(name: str, digest: str) -> web.Response:
    return web.Response(status=201, headers={"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})
