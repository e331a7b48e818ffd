"""A growing table that many follow: looked at once for all of them, and its new rows read once for all.

So a follower holds no thread, and a thousand cost the store what one does. Nobody looks while nobody follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from reconciler.daemon.log import logger
from reconciler.daemon.worker import Worker

T = TypeVar("T")
LOOK_SECONDS = 0.05
PAUSE_SECONDS = 1.0
LOG = logger("api")


class Feed(Generic[T]):
    """Made and used in one event loop. `newest`: the number of the newest row; `read`: what came after a number. Both
    are called in threads."""

    def __init__(self, worker: Worker, newest: Callable[[], int], read: Callable[[int], list[T]]) -> None:
        self._worker = worker
        self._find_newest = newest
        self._read = read
        self._newest = -1
        self._rung = asyncio.Event()
        self._listeners = 0
        self._looking: asyncio.Task[None] | None = None
        self._readings: dict[int, asyncio.Task[list[T]]] = {}

    async def after(self, seen: int, seconds: float) -> list[T]:
        """What came after row `seen`, as soon as there is anything; empty where there is nothing for so long. Raises
        what reading raises."""
        self._listeners += 1
        try:
            self._look()
            async with asyncio.timeout(seconds):
                while self._newest <= seen:
                    await self._rung.wait()
        except TimeoutError:
            return []
        finally:
            self._listeners -= 1
        reading = self._readings.get(seen)
        if reading is None:
            reading = self._readings[seen] = asyncio.ensure_future(self._worker.do(self._read, seen))
            # what has failed is tried again, and rows are kept by nobody but followers
            reading.add_done_callback(lambda _: self._readings.pop(seen, None))
        # one that leaves must not take it from the others
        rows = await asyncio.shield(reading)
        if not rows:
            # the store was begun anew: nothing is to be had in a hurry
            await asyncio.sleep(LOOK_SECONDS)
        return rows

    def _look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._keep_looking())

    async def _keep_looking(self) -> None:
        while self._listeners:
            try:
                newest = await self._worker.do(self._find_newest)
            except Exception as error:
                LOG.warning("the store cannot be followed", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if newest != self._newest:
                self._newest = newest
                self._readings.clear()
                self._rung.set()
                self._rung = asyncio.Event()
            await asyncio.sleep(LOOK_SECONDS)
