"""The server's one event loop: descriptors and what to do when they are ready.

A page of epoll instead of asyncio: a third of the memory, and packets are read in batches without a callback each.
Called by the server; knows nothing of DNS.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable
from contextlib import suppress

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
GONE = select.EPOLLERR | select.EPOLLHUP


class Loop:
    """Runs callbacks of ready descriptors and of passed deadlines, one at a time."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}

    def watch(self, fd: int, callback: Callable[[int], None], events: int = READABLE) -> None:
        """Call `callback(events)` whenever `fd` is ready for `events` (errors and hang-ups always)."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching; call before closing `fd`."""
        if self._callbacks.pop(fd, None) is not None:
            with suppress(FileNotFoundError):
                self._epoll.unregister(fd)

    def run_once(self, timeout: float | None) -> None:
        """Wait at most `timeout` seconds (None: for ever), then run what is ready."""
        for fd, events in self._epoll.poll(timeout):
            callback = self._callbacks.get(fd)
            if callback is not None:  # An earlier callback of this batch may have closed it.
                callback(events)


def until(now: float, deadlines: Iterable[float | None]) -> float | None:
    """Seconds from `now` to the earliest deadline; None where there is none."""
    known = [deadline for deadline in deadlines if deadline is not None]
    return max(0.0, min(known) - now) if known else None
