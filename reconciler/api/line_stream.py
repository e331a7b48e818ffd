"""Lines of JSON that the event loop itself writes to one client: no thread is held, nor more kept than it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from aiohttp import web

from reconciler.api.declared import LINES, Asked
from reconciler.api.outgoing import cut

HEADERS = {"Content-Type": LINES, "Cache-Control": "no-store"}
BEAT_SECONDS = 15.0
"""An empty line is sent that often where nothing is told, so that a client that has left is noticed."""


class LineStream:
    """Begun; `response` is what the request is answered with at its end."""

    def __init__(self, asked: Asked, response: web.StreamResponse) -> None:
        self.response = response
        self._asked = asked
        self._told = time.monotonic()

    @classmethod
    async def begin(cls, asked: Asked) -> LineStream:
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(asked.request)
        return cls(asked, response)

    @property
    def goes_on(self) -> bool:
        """Whether the client is still there, and the daemon is to stay."""
        transport = self._asked.request.transport
        return transport is not None and not transport.is_closing() and not self._asked.served.worker.is_stopping

    async def tell(self, lines: Sequence[str]) -> bool:
        """Whether the client takes them; one that takes nothing for long is cut off."""
        now = time.monotonic()
        if not lines and now - self._told < BEAT_SECONDS:
            return True
        self._told = now
        try:
            async with asyncio.timeout(self._asked.served.patience):
                await self.response.write("".join(f"{line}\n" for line in lines or ("",)).encode(errors="replace"))
        except (ConnectionError, RuntimeError):
            return False
        except TimeoutError:
            cut(self._asked.request)
            return False
        return True
