"""Streams of JSON lines: events, logs, changes. They end when the client leaves or the daemon stops."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TextIO, cast

from aiohttp import web

from reconciler.api.declared import LINES
from reconciler.api.declared import Asked as Request
from reconciler.api.outgoing import PATIENCE_SECONDS, Outgoing, VisitorLeft
from reconciler.api.problems import Gone
from reconciler.api.recorder import Recorder, recorded
from reconciler.api.streams import FrameText
from reconciler.cli.event_lines import Wanted as WantedEvents
from reconciler.cli.event_lines import print_events
from reconciler.cli.log_lines import Wanted as WantedLines
from reconciler.cli.log_lines import told_lines
from reconciler.cli.quantities import read_moment, time_text
from reconciler.cli.selection import read_key
from reconciler.cli.targets import containers_of
from reconciler.daemon.log import logger
from reconciler.store.changes import newest_version, read_changes
from schemas.kind_words import find_kind

LOG = logger("api")
POLL_SECONDS = 0.05
BEAT_SECONDS = 15.0
"""An empty line is sent that often where nothing changes, so that a client that has left is noticed."""


async def events(request: Request) -> web.StreamResponse:
    query = request.query
    moment = read_moment(query.since, time.time()) if query.since else 0.0
    object_ = str(read_key(query.object)) if query.object else None
    wanted = WantedEvents(object_, moment, query.type, query.last)
    layout = request.served.layout
    return await _stream(request, lambda who: recorded(who, print_events, layout, wanted, "json", follow=query.follow))


async def logs(request: Request) -> web.StreamResponse:
    query, layout = request.query, request.served.layout
    now = time.time()
    since, until = (read_moment(text, now) if text else None for text in (query.since, query.until))
    names = await request.served.worker.do(containers_of, layout, request.path["name"])

    def tell(who: Recorder) -> None:
        wanted = WantedLines(query.follow, query.tail, since, until, query.stream, has_left=who.has_left)
        for name, line in told_lines(layout, names, wanted):
            made = {"time": time_text(line.time), "container": name, "stream": line.stream, "text": line.text}
            who.out.write(json.dumps(made | ({"partial": True} if line.partial else {})) + "\n")

    return await _stream(request, tell)


async def _stream(request: Request, tell: Callable[[Recorder], object]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": LINES, "Cache-Control": "no-store"})
    await response.prepare(request.request)
    outgoing = Outgoing(response, must_end=False, framed=False)
    out = cast(TextIO, FrameText(outgoing, 0, is_terminal=False))
    stopping = request.served.worker
    who = Recorder(stops=lambda: outgoing.left or stopping.is_stopping, out=out)
    watching = asyncio.ensure_future(watch_for_leaving(request.request, outgoing))
    try:
        await request.served.worker.do(_until_left, tell, who)
    except Exception as error:
        # the answer has begun: all that is left to say is that it ends here
        LOG.error("a stream broke", path=request.request.path, exc_info=error)
        if request.request.transport is not None:
            request.request.transport.abort()
    finally:
        watching.cancel()
    await outgoing.drain()
    return response


def _until_left(tell: Callable[[Recorder], object], who: Recorder) -> None:
    try:
        tell(who)
    except VisitorLeft:
        return


async def watch_for_leaving(request: web.Request, outgoing: Outgoing) -> None:
    """Notice that a client has left while nothing is told to it."""
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(0.25)
    outgoing.leave()


async def watch(request: Request) -> web.StreamResponse:
    """Raises Gone where the changes since that version are no longer kept: list again, then watch."""
    served, query = request.served, request.query
    kinds = {find_kind(kind).value for kind in query.kind}
    database = served.engine.database
    after = query.resourceVersion
    if after is None:
        after = await served.worker.do(newest_version, database)
    if await served.worker.do(read_changes, database, after, 1) is None:
        raise Gone(f"changes since {after} are no longer kept", step="watch", hint="list the objects again")
    response = web.StreamResponse(headers={"Content-Type": LINES, "Cache-Control": "no-store"})
    await response.prepare(request.request)
    told = time.monotonic()
    while request.request.transport is not None and not served.worker.is_stopping:
        changes = await served.worker.do(read_changes, database, after)
        if changes is None:
            break
        lines = [
            json.dumps({"type": each.type, "object": each.object, "resourceVersion": each.version, "at": each.at})
            for each in changes
            if not kinds or each.object.partition("/")[0] in kinds
        ]
        after = changes[-1].version if changes else after
        if lines or time.monotonic() - told > BEAT_SECONDS:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await response.write(("\n".join(lines) + "\n").encode())
            told = time.monotonic()
        if not changes:
            await asyncio.sleep(POLL_SECONDS)
    return response
