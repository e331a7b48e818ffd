"""Sources that the daemon follows: how they stand, and having it look at one now."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from reconciler.api.declared import BODY_SECONDS, document
from reconciler.api.declared import Asked as Request
from reconciler.cli.version_command import VERSION
from reconciler.images.report import told_of_followers
from reconciler.sources.members import with_members
from reconciler.sources.standing import document_of, status_of_source
from reconciler.sources.status import SourceStatus
from reconciler.sources.webhook import MOST_BODY, is_authentic, is_ping
from reconciler.store.database import Database
from reconciler.store.inventory import read_inventory
from reconciler.store.status import read_statuses, read_together
from schemas.errors import Missing, Refused
from schemas.names import Key, Kind


def told(database: Database, found: Iterable[SourceStatus]) -> list[dict[str, Any]]:
    """Of each all that is known, its set's objects among it."""
    inventory = read_inventory(database)
    documents = []
    for each in with_members(database, found):
        entry = inventory.get(Key(Kind.SOURCE, each.name))
        members = read_statuses(database, each.set).values() if each.set else ()
        documents.append(document_of(each, status_of_source(each, members, entry.generation if entry else 1)))
    return documents


async def status(request: Request) -> web.Response:
    served = request.served
    followed = [each for _, each in sorted(served.roster.statuses().items())]
    sources = await served.worker.do(told, served.engine.database, followed)
    daemon = {
        "pid": os.getpid(),
        "version": VERSION,
        "root": str(served.layout.root),
        "objects": len(served.loop.wanted.desired),
        "passes": served.loop.passes,
        "writing": served.worker.is_writing,
        "stopping": served.worker.is_stopping,
    }
    images = await served.worker.do(told_of_followers, served.engine.database, served.loop.wanted)
    whole, sets = await served.worker.do(_together, served.engine.database, sorted(served.loop.wanted.intents))
    made = {"daemon": daemon, "engine": whole, "sets": sets, "sources": sources, "images": images}
    return document(json.dumps(made))


def _together(database: Database, sets: Iterable[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The worst of all objects, and of each set's."""
    of_sets = [{"set": name, **asdict(read_together(database, name))} for name in sets]
    return asdict(read_together(database)), of_sets


async def one(request: Request) -> web.Response:
    found = request.served.roster.statuses().get(request.path["name"])
    if found is None:
        raise _missing(request)
    served = request.served
    (made,) = await served.worker.do(told, served.engine.database, [found])
    return document(json.dumps(made))


async def fetch(request: Request) -> web.Response:
    if not request.served.roster.fetch_now(request.path["name"]):
        raise _missing(request)
    return web.Response(status=202)


async def retry(request: Request) -> web.Response:
    if not request.served.roster.retry(request.path["name"]):
        raise _missing(request)
    return web.Response(status=202)


def _missing(request: Request) -> Missing:
    return Missing(f"no source {request.path['name']} is followed", hint="`GET /v1/status` lists them")


async def hook(request: Request) -> web.Response:
    """Who cannot prove to know the secret learns nothing, not even whether there is such a source."""
    body = await _body(request.request)
    try:
        secret = await request.served.roster.webhook_secret(request.path["name"])
    except Refused:
        secret = None
    if secret is None or not is_authentic(request.request.headers, body, secret, time.time()):
        raise web.HTTPForbidden(reason="not authentic")
    if not is_ping(request.request.headers):
        request.served.roster.fetch_now(request.path["name"])
    return web.Response(status=202)


async def _body(request: web.Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.content.iter_chunked(1 << 16):
                body += piece
                if len(body) > MOST_BODY:
                    raise web.HTTPRequestEntityTooLarge(MOST_BODY, len(body))
    except TimeoutError:
        raise web.HTTPRequestTimeout(reason="the body did not come") from None
    return bytes(body)
