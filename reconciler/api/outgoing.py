"""From a thread that tells to a client that reads: frames, in order, sent soon and together.

A thread that tells faster than its client reads waits. When the client has left, what is told goes nowhere; who only
tells, and changes nothing, is ended by `VisitorLeft`. One that takes nothing for long has left too, and its connection
is cut, since closing it would wait for the client once more.
"""

from __future__ import annotations

import asyncio
import threading

from aiohttp import web

from reconciler.client.frames import frames

MOST_WAITING = 1 << 20
"""Bytes that wait for a client before the thread does."""
PATIENCE_SECONDS = 30.0
"""A client that takes nothing for so long has left."""


def cut(request: web.Request) -> None:
    """End the connection without sending what still waits in it."""
    if request.transport is not None:
        request.transport.abort()


class VisitorLeft(BaseException):
    """Nobody reads any more. Not an error of anybody's: it passes through `except Exception`."""


class Outgoing:
    """Made in the event loop; `tell` is called from threads."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        *,
        must_end: bool,
        framed: bool = True,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._request = request
        self._response = response
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._must_end = must_end
        self._framed = framed
        self._waiting = bytearray()
        self._scheduled = False
        self._guard = threading.Condition()
        self.left = False
        self._sending: asyncio.Task[None] | None = None

    def tell(self, kind: int, data: bytes) -> None:
        """Raises VisitorLeft, unless the work must be done to its end."""
        with self._guard:
            self._guard.wait_for(lambda: self.left or len(self._waiting) < MOST_WAITING, self._patience)
            if not self.left and len(self._waiting) >= MOST_WAITING:
                self.left = True
                self._loop.call_soon_threadsafe(self._give_up)
            if self.left:
                if self._must_end:
                    return
                raise VisitorLeft
            if self._framed:
                for each in frames(kind, data):
                    self._waiting += each
            else:
                self._waiting += data
            if self._scheduled:
                return
            self._scheduled = True
        self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._sending = asyncio.ensure_future(self._send())

    async def _send(self) -> None:
        while True:
            with self._guard:
                data = bytes(self._waiting)
                self._waiting.clear()
                self._guard.notify_all()
                if not data:
                    self._scheduled = False
                    return
            try:
                async with asyncio.timeout(self._patience):
                    await self._response.write(data)
            except (ConnectionError, RuntimeError):
                self.leave()
                return
            except TimeoutError:
                self._give_up()
                return

    def beat(self) -> None:
        """An empty line where nothing waits. In the event loop; between lines alone, so not for frames."""
        with self._guard:
            if self.left or self._waiting or self._scheduled:
                return
            self._waiting += b"\n"
            self._scheduled = True
        self._begin()

    def _give_up(self) -> None:
        """In the event loop."""
        cut(self._request)
        self.leave()

    def leave(self) -> None:
        """The client has gone."""
        with self._guard:
            self.left = True
            self._waiting.clear()
            self._guard.notify_all()

    async def drain(self) -> None:
        """Until all that was told is sent, or the client has left."""
        while self._scheduled and not self.left:
            if self._sending is None or self._sending.done():
                # asked for from another thread, not yet begun
                await asyncio.sleep(0)
            else:
                await asyncio.wait({self._sending})
