"""The aiohttp application: who asks for what, and every error in the spec's form."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from aiohttp import web

from reconciler.daemon.log import logger
from reconciler.registry import blobs, lists, manifests, uploads
from reconciler.registry.access import Access
from reconciler.registry.errors import Denied, answer, of_ours, unsupported
from reconciler.registry.paths import Asked, Thing, read_path
from reconciler.registry.served import Served
from schemas.errors import TrimtabError

LOG = logger("registry")
VERSION = {"Docker-Distribution-Api-Version": "registry/2.0", "X-Content-Type-Options": "nosniff", "Server": "trimtab"}
Answer = Callable[[Served, web.Request, Asked], Awaitable[web.StreamResponse]]


async def _version(served: Served, request: web.Request, asked: Asked) -> web.StreamResponse:
    return web.json_response({})


ANSWERS: Mapping[Thing, Mapping[str, Answer]] = {
    Thing.VERSION: {"GET": _version, "HEAD": _version},
    Thing.CATALOG: {"GET": lists.list_repositories},
    Thing.TAGS: {"GET": lists.list_tags},
    Thing.REFERRERS: {"GET": lists.list_referrers},
    Thing.MANIFEST: {
        "GET": manifests.read_manifest,
        "HEAD": manifests.read_manifest,
        "PUT": manifests.push_manifest,
        "DELETE": manifests.remove_manifest,
    },
    Thing.BLOB: {"GET": blobs.read_blob, "HEAD": blobs.read_blob, "DELETE": blobs.remove_blob},
    Thing.UPLOADS: {"POST": uploads.begin_upload},
    Thing.UPLOAD: {
        "GET": uploads.ask_upload,
        "PATCH": uploads.append,
        "PUT": uploads.finish,
        "DELETE": uploads.give_up,
    },
}


def application(served: Served, access: Access) -> web.Application:
    places = asyncio.Semaphore(served.settings.requests)

    async def reply(request: web.Request) -> web.StreamResponse:
        if places.locked():
            raise Denied(503, "TOOMANYREQUESTS", "too many requests are under way", {"Retry-After": "1"})
        async with places:
            asked = read_path(request.rel_url.raw_path)
            if asked.thing is Thing.TOKEN:
                return await access.give_token(request)
            answers = ANSWERS[asked.thing]
            asked = replace(asked, visitor=await access.require(request, asked))
            if request.method not in answers:
                raise unsupported(f"{request.method} is not possible here; {', '.join(answers)}")
            return await answers[request.method](served, request, asked)

    app = web.Application(middlewares=[_told])
    app.router.add_route("*", "/{path:.*}", reply)
    app.on_response_prepare.append(_mark)
    return app


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(VERSION)


@web.middleware
async def _told(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Denied as denied:
        return _closing(request, denied)
    except TrimtabError as error:
        LOG.warning("failed", path=request.path, method=request.method, error=str(error))
        return _closing(request, of_ours(error, "UNSUPPORTED"))
    except ConnectionError:
        # nobody hears it, and it is no fault of ours to log
        return _closing(request, Denied(400, "BLOB_UPLOAD_INVALID", "the client left"))
    except web.HTTPException:
        raise
    except UnicodeDecodeError:
        return _closing(request, Denied(400, "NAME_INVALID", "the path is not UTF-8"))
    except Exception as error:
        LOG.error("fault", path=request.path, method=request.method, exc_info=error)
        return _closing(request, Denied(500, "UNSUPPORTED", "a fault of trimtab; the registry's log says more"))


def _closing(request: web.Request, denied: Denied) -> web.Response:
    """What the client still sends is not waited for."""
    response = answer(denied)
    if request.body_exists and not request.content.is_eof():
        response.force_close()
    return response
