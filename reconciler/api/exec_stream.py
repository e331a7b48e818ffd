"""A process in a container on a connection's two halves: prepared by one request, started by another that is upgraded.

After `101 Switching Protocols` both sides send frames (`reconciler.client.frames`): standard streams by their numbers,
`CONTROL` for the terminal's size, the end of input, and last the exit code. When the client leaves, the process sees
its terminal hang up or its pipes closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from reconciler.api.declared import Asked as Request
from reconciler.api.declared import document
from reconciler.api.models import ExecBody
from reconciler.cli.executing import CANNOT, Errand, process_of, read_bundle, running_container, start_detached
from reconciler.client.frames import CONTROL, STDERR, STDIN, STDOUT, Decoder, Garbled, frame
from reconciler.client.frames import MEDIA_TYPE as FRAMES
from runtime.layout import Layout
from runtime.process.copying import pass_size
from runtime.process.exec_open import OpenExec, open_exec
from runtime.process.failure import NotRunning, ProcessFailed
from schemas.errors import Missing, Refused

KEPT_SECONDS = 60.0
MOST_PREPARED = 1000
READ_BYTES = 1 << 16
UPGRADE = "tcp"
LEFT = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """An exec that waits for its stream. `at`: seconds of the monotonic clock."""

    container: str
    process: dict[str, Any]
    at: float


async def prepare(request: Request) -> web.Response:
    """Raises Refused for what is not there, does not run, or has no such user."""
    served = request.served
    if request.body.root not in (None, str(served.layout.root)):
        raise web.HTTPMisdirectedRequest(reason="this daemon works on another root")
    made = await served.worker.do(_prepare, served.layout, request.path["name"], request.body)
    if request.body.detach:
        pid = await served.worker.do(_detached, served.layout, made)
        return document(json.dumps({"pid": pid}), 201)
    now = time.monotonic()
    for name in [name for name, each in served.execs.items() if now - each.at > KEPT_SECONDS]:
        del served.execs[name]
    if len(served.execs) >= MOST_PREPARED:
        raise Refused("too many processes wait for their streams", step="exec")
    named = secrets.token_hex(16)
    served.execs[named] = made
    return document(json.dumps({"id": named}), 201)


def _prepare(layout: Layout, name: str, body: ExecBody) -> Prepared:
    container = running_container(layout, name)
    errand = Errand(tuple(body.arguments), body.user, tuple(body.environment), body.workdir, True, body.terminal)
    process = process_of(read_bundle(layout, container), errand, {}, terminal=body.terminal)
    if body.terminal:
        process["consoleSize"] = {"height": body.rows, "width": body.columns}
    return Prepared(container, process, time.monotonic())


def _detached(layout: Layout, made: Prepared) -> int:
    try:
        return start_detached(layout, made.container, made.process)
    except ProcessFailed as error:
        raise Refused(str(error), object=f"Container/{made.container}", step="exec") from error


async def start(request: Request) -> web.StreamResponse:
    """Raises Missing for what was not prepared; 426 where the connection is not to be upgraded."""
    asked, served = request.request, request.served
    if asked.headers.get("Upgrade", "").lower() != UPGRADE or asked.transport is None:
        raise web.HTTPUpgradeRequired(reason=f"send Connection: Upgrade and Upgrade: {UPGRADE}")
    prepared = served.execs.pop(request.path["id"], None)
    if prepared is None:
        raise Missing("there is no such process prepared", step="exec", hint="prepare it again")
    transport = asked.transport
    lines = (
        "HTTP/1.1 101 Switching Protocols",
        "Connection: Upgrade",
        f"Upgrade: {UPGRADE}",
        f"Content-Type: {FRAMES}",
    )
    stream = ExecStream(transport, asked.protocol)
    transport.set_protocol(stream)
    transport.write("\r\n".join((*lines, "", "")).encode())
    try:
        code = await _run(request, prepared, stream)
        stream.tell(CONTROL, json.dumps({"exit": code}).encode())
        await stream.drained()
    finally:
        transport.close()
    return web.Response()


async def _run(request: Request, prepared: Prepared, stream: ExecStream) -> int:
    try:
        opened = await request.served.worker.do(open_exec, request.served.layout, prepared.container, prepared.process)
    except NotRunning as error:
        stream.say(f"trimtab: Container/{prepared.container} exec: {error}")
        return 2
    except ProcessFailed as error:
        stream.say(f"trimtab: Container/{prepared.container} exec: {error}")
        return CANNOT if error.exit_code is None else error.exit_code
    try:
        return await stream.carry(opened)
    finally:
        opened.close()


class ExecStream(asyncio.Protocol):
    """The connection after its upgrade."""

    def __init__(self, transport: asyncio.Transport, before: asyncio.Protocol) -> None:
        self._transport = transport
        self._before = before
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder()
        self._opened: OpenExec | None = None
        self._input: deque[bytes] = deque()
        self._input_ends = False
        self._input_open = True
        self._readers: dict[int, int] = {}
        self._flows = asyncio.Event()
        self._flows.set()
        self._ended = asyncio.Event()
        self.left = False

    def tell(self, kind: int, data: bytes) -> None:
        if not self.left:
            self._transport.write(frame(kind, data))

    def say(self, text: str) -> None:
        self.tell(STDERR, f"{text}\n".encode())

    async def carry(self, opened: OpenExec) -> int:
        """Move everything until the process has ended, or the client has left; the exit code."""
        self._opened = opened
        self._readers = (
            {opened.stdout: STDOUT} if opened.stderr is None else {opened.stdout: STDOUT, opened.stderr: STDERR}
        )
        for descriptor in self._readers:
            self._loop.add_reader(descriptor, self._output, descriptor)
        self._feed()
        self._loop.add_reader(opened.channel.fileno(), self._ended.set)
        try:
            await self._ended.wait()
            self._loop.remove_reader(opened.channel.fileno())
            if self.left:
                return LEFT
            code = opened.exit_code()
            await self._rest(opened)
            return code
        finally:
            self._loop.remove_reader(opened.channel.fileno())
            for descriptor in list(self._readers):
                self._done(descriptor)
            self._end_input()
            self._opened = None

    async def _rest(self, opened: OpenExec) -> None:
        """What the process has written is still in the pipes; whom it left behind may hold them open."""
        for descriptor in list(self._readers):
            while descriptor in self._readers and self._output(descriptor):
                await self._flows.wait()

    def _output(self, descriptor: int) -> bool:
        """Whether there was anything to read."""
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            # EIO: nobody holds the terminal's other side any more
            data = b""
        if not data:
            self._done(descriptor)
            return False
        self.tell(self._readers[descriptor], data)
        return True

    def _done(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self._readers.pop(descriptor, None)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, payload in self._decoder.feed(data):
                self._take(kind, payload)
        except (Garbled, ValueError, KeyError, TypeError):
            self._transport.abort()

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == STDIN:
            self._input.append(payload)
        elif kind == CONTROL:
            told = json.loads(payload)
            if "resize" in told and self._opened is not None and self._opened.stderr is None:
                rows, columns = (max(1, min(int(number), 10_000)) for number in told["resize"])
                pass_size(self._opened.stdout, rows, columns)
            self._input_ends = self._input_ends or bool(told.get("eof"))
        self._feed()
        if len(self._input) > 64:
            self._transport.pause_reading()

    def _feed(self) -> None:
        """Input into the process, as much as it takes now."""
        opened = self._opened
        if opened is None:
            return
        while self._input:
            try:
                written = os.write(opened.stdin, self._input[0])
            except BlockingIOError:
                self._loop.add_writer(opened.stdin, self._feed)
                return
            except OSError:
                self._input.clear()
                break
            rest = self._input.popleft()[written:]
            if rest:
                self._input.appendleft(rest)
        self._loop.remove_writer(opened.stdin)
        with suppress(RuntimeError):
            self._transport.resume_reading()
        if self._input_ends:
            self._end_input()

    def _end_input(self) -> None:
        """A terminal's input ends with its master, which the output still needs."""
        if self._opened is None or self._opened.stderr is None or not self._input_open:
            return
        self._input_open = False
        self._loop.remove_writer(self._opened.stdin)
        # another file in its place, so that closing all later closes nobody else's
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nothing, self._opened.stdin, inheritable=False)
        os.close(nothing)

    def pause_writing(self) -> None:
        self._flows.clear()
        for descriptor in self._readers:
            self._loop.remove_reader(descriptor)

    def resume_writing(self) -> None:
        self._flows.set()
        for descriptor in self._readers:
            self._loop.add_reader(descriptor, self._output, descriptor)

    async def drained(self) -> None:
        """Until everything told is on its way."""
        with suppress(TimeoutError):
            async with asyncio.timeout(KEPT_SECONDS):
                while not self.left and self._transport.get_write_buffer_size():
                    await asyncio.sleep(0.005)

    def eof_received(self) -> bool:
        """Who says nothing more has left: the end of input alone has a frame of its own."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.left = True
        self._flows.set()
        self._ended.set()
        self._before.connection_lost(error)
