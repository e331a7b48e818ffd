"""`POST /v1/commands`: a command line carried out for a client, its output as a stream of frames.

The body is JSON (`CommandRequest`); where the header `Command-Length` counts its bytes, what comes after them is the
command's standard input. The answer is `application/vnd.trimtab.stream` (`reconciler.client.frames`); its last frame
is the exit code. `DELETE /v1/commands/{id}` lets one end early, as Ctrl-C would.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time

from aiohttp import web

from reconciler.api.carry import carry, command_named
from reconciler.api.declared import Asked
from reconciler.api.following import watch_for_leaving
from reconciler.api.incoming import STALL_SECONDS, StandardInput
from reconciler.api.outgoing import Outgoing
from reconciler.api.served import Served
from reconciler.api.shares import Use
from reconciler.api.visitor import CommandRequest, FilesWanted, Visitor
from reconciler.client.frames import CONTROL, MEDIA_TYPE
from reconciler.client.remote_commands import command_name, is_lasting, is_writer
from reconciler.daemon.log import logger
from schemas.errors import Missing

MOST_BYTES = 64 << 20
"""Of the JSON: all manifests and files of one command."""
LENGTH = "Command-Length"
LOG = logger("api")


async def run_command(call: Asked) -> web.StreamResponse:
    served, request = call.served, call.request
    asked = CommandRequest.model_validate_json(await _json(request))
    command_named(asked.words)
    if asked.root is not None and asked.root != str(served.layout.root):
        raise web.HTTPMisdirectedRequest(reason="this daemon works on another root")
    use = Use.WRITE if is_writer(asked.words) else Use.FOLLOW if is_lasting(asked.words) else Use.READ
    with served.shares.taken(use, served.person(request)):
        response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"})
        await response.prepare(request)
        outgoing = Outgoing(request, response, must_end=use is Use.WRITE, patience=served.patience)
        stdin = StandardInput(request.content, is_terminal=asked.terminal[0])
        visitor = Visitor(
            asked, outgoing, stdin, lambda: served.worker.is_stopping, served.loaders, served.person(request)
        )
        await _carry_out(served, request, asked, visitor, outgoing, use)
        return response


async def _carry_out(
    served: Served, request: web.Request, asked: CommandRequest, visitor: Visitor, outgoing: Outgoing, use: Use
) -> None:
    named, began = secrets.token_hex(8), time.monotonic()
    served.commands[named] = visitor
    watching = asyncio.ensure_future(watch_for_leaving(request, outgoing))
    last: dict[str, object]
    try:
        outgoing.tell(CONTROL, json.dumps({"id": named}).encode())
        worker = served.worker
        run = {Use.WRITE: worker.write, Use.FOLLOW: worker.last}.get(use, worker.do)
        last = {"exit": await run(carry, served.layout, visitor, asked.words)}
        if use is Use.WRITE:
            await served.applied()
    except FilesWanted as wanted:
        last = {"want": list(wanted.paths)}
    finally:
        watching.cancel()
        del served.commands[named]
    if not outgoing.left:
        outgoing.tell(CONTROL, json.dumps(last).encode())
    await outgoing.drain()
    taken = round((time.monotonic() - began) * 1000, 1)
    LOG.info("command", command=command_name(asked.words), milliseconds=taken, **last, who=served.who(request))


async def _json(request: web.Request) -> bytes:
    """Raises HTTP errors for a body that is too large, ends early, or stalls."""
    told = request.headers.get(LENGTH)
    if told is not None and not told.isdigit():
        raise web.HTTPBadRequest(reason=f"{LENGTH} is no number")
    length = int(told) if told is not None else MOST_BYTES + 1
    if told is not None and length > MOST_BYTES:
        raise web.HTTPRequestEntityTooLarge(MOST_BYTES, length)
    data = bytearray()
    try:
        async with asyncio.timeout(STALL_SECONDS):
            while len(data) < length and (part := await request.content.read(min(length - len(data), 1 << 18))):
                data += part
    except TimeoutError:
        raise web.HTTPRequestTimeout(reason="the body did not come") from None
    if len(data) > MOST_BYTES:
        raise web.HTTPRequestEntityTooLarge(MOST_BYTES, len(data))
    return bytes(data)


async def stop_command(call: Asked) -> web.Response:
    visitor = call.served.commands.get(call.path["id"])
    if visitor is None:
        raise Missing("there is no such command under way", step="stop it")
    visitor.stop()
    return web.Response(status=204)
