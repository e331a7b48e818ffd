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

    def __init__(self, on_fault: Callable[[], None]) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._essential: set[int] = set()
        self._on_fault = on_fault

    def watch(
        self, fd: int, callback: Callable[[int], None], events: int = READABLE, *, essential: bool = False
    ) -> None:
        """Call `callback(events)` whenever `fd` is ready for `events` (errors and hang-ups always).

        A callback that raises is told to `on_fault` and its descriptor no longer watched: one client's packets must
        not end the server. Without an `essential` one there is no server, so what that raises ends the loop.
        """
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback
        if essential:
            self._essential.add(fd)

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching; call before closing `fd`."""
        self._essential.discard(fd)
        if self._callbacks.pop(fd, None) is not None:
            with suppress(FileNotFoundError):
                self._epoll.unregister(fd)

    def run_once(self, timeout: float | None) -> None:
        """Wait at most `timeout` seconds (None: for ever), then run what is ready."""
        for fd, events in self._epoll.poll(timeout):
            callback = self._callbacks.get(fd)
            if callback is None:  # An earlier callback of this batch has closed it.
                continue
            try:
                callback(events)
            except Exception:
                if fd in self._essential:
                    raise
                self.forget(fd)
                self._on_fault()


def until(now: float, deadlines: Iterable[float | None]) -> float | None:
    """Seconds from `now` to the earliest deadline; None where there is none."""
    known = [deadline for deadline in deadlines if deadline is not None]
    return max(0.0, min(known) - now) if known else None
