"""A source's revisions, taken one by one within a limit of time."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from reconciler.sources.revision import Revision, Source, SourceTrouble

LIMIT = 10.0
QUIET = 0.6
"""Seconds in which nothing must come."""


class Following:
    """What a source yields, in the order it yields it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Revision | SourceTrouble] = asyncio.Queue()

    async def revision(self) -> Revision:
        found = await asyncio.wait_for(self.queue.get(), LIMIT)
        assert isinstance(found, Revision), found
        return found

    async def trouble(self) -> SourceTrouble:
        found = await asyncio.wait_for(self.queue.get(), LIMIT)
        assert isinstance(found, SourceTrouble), found
        return found

    async def silence(self) -> None:
        await asyncio.sleep(QUIET)
        assert self.queue.empty(), self.queue.get_nowait()


@asynccontextmanager
async def follow(source: Source) -> AsyncIterator[Following]:
    following = Following()

    async def feed() -> None:
        """Whatever ends the source is told where it is waited for."""
        try:
            async for found in source.revisions():
                following.queue.put_nowait(found)
        except Exception:
            following.queue.put_nowait(SourceTrouble(traceback.format_exc()))

    task = asyncio.create_task(feed())
    try:
        yield following
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def run(test: Callable[[], Coroutine[Any, Any, None]] | Awaitable[None]) -> None:
    """One test in a loop of its own."""
    asyncio.run(test() if callable(test) else test)  # type: ignore[arg-type]
