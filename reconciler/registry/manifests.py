"""Manifests of a repository: read, pushed, removed; tags come and go with them.

Source: distribution-spec 1.1, "Pulling manifests", "Pushing Manifests", "Deleting tags", "Deleting Manifests".
"""

from __future__ import annotations

from aiohttp import web

from reconciler.registry.bodies import whole
from reconciler.registry.errors import Denied, of_ours, unknown_manifest, unsupported
from reconciler.registry.paths import Asked
from reconciler.registry.served import Served
from runtime.images.digests import is_digest
from runtime.images.hosted.described import describe
from runtime.images.hosted.keeping import Unknown, digest_by, keep_manifest
from runtime.images.hosted.names import is_tag
from runtime.images.oci import MAX_MANIFEST
from schemas.errors import Refused

MOST_TAGS = 100
"""In one request."""


async def read_manifest(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    """GET and HEAD."""
    warning = ""
    if served.mirror is not None:
        warning = await served.mirror.ensure_manifest(asked.name, asked.pin)
    held = await served.do(served.catalog.manifest, asked.name, asked.pin)
    if held is None:
        raise unknown_manifest(asked.pin)
    headers = {"Content-Type": held.media_type, "Docker-Content-Digest": held.digest, "ETag": f'"{held.digest}"'}
    headers |= {"Warning": f'299 - "{warning}"'} if warning else {}
    if request.method == "HEAD":
        if not await served.do(served.store.has, held.digest, held.size):
            raise unknown_manifest(asked.pin)
        return web.Response(headers=headers | {"Content-Length": str(held.size)})
    try:
        content = await served.do(served.store.read, held.digest, MAX_MANIFEST)
    except FileNotFoundError:
        raise unknown_manifest(asked.pin) from None
    return web.Response(body=content, headers=headers)


async def push_manifest(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    """PUT, by tag or by digest; by digest with `tag` parameters, too."""
    if served.mirror is not None:
        raise unsupported("a mirror takes nothing")
    content = await whole(request, MAX_MANIFEST, served.settings.stall_seconds)
    tags = _tags(request, asked)
    digest = digest_by(asked.pin.partition(":")[0] if is_digest(asked.pin) else "sha256", content)
    if is_digest(asked.pin) and digest != asked.pin:
        raise Denied(400, "DIGEST_INVALID", f"the manifest received is {digest}")
    try:
        described = describe(content, request.headers.get("Content-Type", ""))
        place = (served.layout, served.catalog, asked.name)
        is_whole = not served.settings.is_sparse
        await served.do(keep_manifest, *place, digest, content, described, tags, is_whole=is_whole)
    except Unknown as error:
        raise Denied(400, "MANIFEST_BLOB_UNKNOWN", error.message, details=error.digests[:50]) from error
    except Refused as error:
        raise of_ours(error, "MANIFEST_INVALID") from error
    headers = {"Location": f"/v2/{asked.name}/manifests/{digest}", "Docker-Content-Digest": digest}
    headers |= {"OCI-Subject": described.subject} if described.subject else {}
    headers |= {"OCI-Tag": ", ".join(tags)} if tags and is_digest(asked.pin) else {}
    return web.Response(status=201, headers=headers)


def _tags(request: web.Request, asked: Asked) -> list[str]:
    if not is_digest(asked.pin):
        return [asked.pin]
    tags = list(dict.fromkeys(request.query.getall("tag", [])))
    if len(tags) > MOST_TAGS:
        raise Denied(414, "UNSUPPORTED", f"more than {MOST_TAGS} tags at once are not taken")
    wrong = next((tag for tag in tags if not is_tag(tag)), None)
    if wrong is not None:
        raise Denied(400, "MANIFEST_INVALID", f"{wrong[:160]!r} is no tag")
    return tags


async def remove_manifest(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    """DELETE: of a tag, that alone; of a digest, with every tag that names it."""
    if served.mirror is not None:
        raise unsupported("a mirror forgets by itself")
    remove = served.catalog.remove_manifest if is_digest(asked.pin) else served.catalog.remove_tag
    if not await served.do(remove, asked.name, asked.pin):
        raise unknown_manifest(asked.pin)
    return web.Response(status=202)
