"""A few places for work that takes a processor: when one is free, the largest that waits gets it.

Used by `unpack`. What is largest decides when all is done, so it must not come last. Threads of one process only.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Places:
    """`count` of them."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._change = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._arrivals = 0

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """A place, for work of that size; of equal ones the first to come is the first to go."""
        with self._change:
            self._arrivals += 1
            mine = (-size, self._arrivals)
            heapq.heappush(self._waiting, mine)
            try:
                self._change.wait_for(lambda: self._free and self._waiting[0] == mine)
                self._free -= 1
            finally:
                self._waiting.remove(mine)
                heapq.heapify(self._waiting)
                self._change.notify_all()
        try:
            yield
        finally:
            with self._change:
                self._free += 1
                self._change.notify_all()
