"""Streams of JSON lines: events, logs, changes. They end when the client leaves or the daemon stops.

Events and changes are rows of tables that are followed for all together (`feed`), and hold no thread. A log is read in
a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TextIO, cast

from aiohttp import web

from reconciler.api.declared import Asked as Request
from reconciler.api.line_stream import BEAT_SECONDS, HEADERS, LineStream
from reconciler.api.outgoing import Outgoing, VisitorLeft, cut
from reconciler.api.problems import Gone
from reconciler.api.recorder import Recorder
from reconciler.api.served import kept_changes
from reconciler.api.streams import FrameText
from reconciler.cli.event_lines import Wanted as WantedEvents
from reconciler.cli.event_lines import event_document
from reconciler.cli.log_lines import Wanted as WantedLines
from reconciler.cli.log_lines import told_lines
from reconciler.cli.quantities import read_moment, time_text
from reconciler.cli.selection import read_key
from reconciler.cli.targets import containers_of
from reconciler.daemon.log import logger
from reconciler.store.changes import Change, newest_version
from reconciler.store.database import Database
from reconciler.store.events import KEPT, Event, newest_event, read_events
from schemas.kind_words import find_kind

LOG = logger("api")
LOOK_SECONDS = 1.0
"""Between two looks whether the client has left."""


async def events(request: Request) -> web.StreamResponse:
    query, served = request.query, request.served
    moment = read_moment(query.since, time.time()) if query.since else 0.0
    object_ = str(read_key(query.object)) if query.object else None
    wanted = WantedEvents(object_, moment, query.type, query.last)
    newest, seen = await served.worker.do(_events_so_far, served.engine.database, wanted)
    stream = await LineStream.begin(request)
    goes_on = await stream.tell([_event_line(event) for event in seen])
    while goes_on and query.follow and stream.goes_on:
        came = await served.events.after(newest, LOOK_SECONDS)
        newest = came[-1].id if came else newest
        told = [event for event in came if object_ in (None, event.object) and wanted.match(event)]
        goes_on = await stream.tell([_event_line(event) for event in told])
    return stream.response


def _events_so_far(database: Database, wanted: WantedEvents) -> tuple[int, list[Event]]:
    """The number of the newest of all, and the last of those that are wanted up to there."""
    newest = newest_event(database)
    kept = read_events(database, wanted.object, last=KEPT)
    seen = [event for event in kept if event.id <= newest and wanted.match(event)]
    return newest, seen[len(seen) - min(len(seen), wanted.last) :]


def _event_line(event: Event) -> str:
    return json.dumps(event_document(event), ensure_ascii=False)


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
    served = request.served
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request.request)
    outgoing = Outgoing(request.request, response, must_end=False, framed=False, patience=served.patience)
    out = cast(TextIO, FrameText(outgoing, 0, is_terminal=False))
    who = Recorder(stops=lambda: outgoing.left or served.worker.is_stopping, out=out)
    watching = [asyncio.ensure_future(each) for each in (watch_for_leaving(request.request, outgoing), _beat(outgoing))]
    try:
        await served.worker.last(_until_left, tell, who)
    except Exception as error:
        # the answer has begun: all that is left to say is that it ends here
        LOG.error("a stream broke", path=request.request.path, exc_info=error)
        cut(request.request)
    finally:
        for each in watching:
            each.cancel()
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


async def _beat(outgoing: Outgoing) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        outgoing.beat()


async def watch(request: Request) -> web.StreamResponse:
    """Raises Gone where the changes since that version are no longer kept, or it is none of this store's: list again,
    then watch."""
    served, query = request.served, request.query
    kinds = {find_kind(kind).value for kind in query.kind}
    database = served.engine.database
    newest = await served.worker.do(newest_version, database)
    after = newest if query.resourceVersion is None else query.resourceVersion
    if after > newest:
        raise Gone(f"there is no change {after} yet", step="watch", hint="list the objects again")
    await served.worker.do(kept_changes, database, after, 1)
    stream = await LineStream.begin(request)
    goes_on = True
    while goes_on and stream.goes_on:
        try:
            changes = await served.changes.after(after, LOOK_SECONDS)
        except Gone:
            break
        after = changes[-1].version if changes else after
        told = [each for each in changes if not kinds or each.object.partition("/")[0] in kinds]
        goes_on = await stream.tell([_change_line(each) for each in told])
    return stream.response


def _change_line(each: Change) -> str:
    made = {"type": each.type, "object": each.object, "resourceVersion": each.version, "at": each.at}
    return json.dumps(made)
