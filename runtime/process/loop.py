"""One thread, one epoll set, one callback per descriptor, and a few moments to come. The monitor's heart."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT


class Loop:
    """Calls back when a watched descriptor is ready, or a moment has come."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.callbacks: dict[int, Callable[[], None]] = {}
        self.moments: dict[Callable[[], None], float] = {}

    def watch(self, descriptor: int, callback: Callable[[], None], events: int = READ) -> None:
        """Call `callback` whenever the descriptor is ready; replaces an earlier watch of it."""
        if descriptor in self.callbacks:
            self.epoll.modify(descriptor, events)
        else:
            self.epoll.register(descriptor, events)
        self.callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Stop watching; to be called before the descriptor is closed. Not watched is no error."""
        if self.callbacks.pop(descriptor, None) is not None:
            self.epoll.unregister(descriptor)

    def is_watched(self, descriptor: int) -> bool:
        return descriptor in self.callbacks

    def call_at(self, moment: float, callback: Callable[[], None]) -> None:
        """Call once `time.monotonic()` has reached `moment`; a callback has one moment at most."""
        self.moments[callback] = moment

    def run_once(self) -> None:
        """Wait for something to happen, and let it."""
        for descriptor, _ in self.epoll.poll(self._timeout()):
            # an earlier callback of this turn may have closed it
            callback = self.callbacks.get(descriptor)
            if callback is not None:
                callback()
        if self.moments:
            now = time.monotonic()
            for callback in [due for due, moment in self.moments.items() if moment <= now]:
                del self.moments[callback]
                callback()

    def _timeout(self) -> float | None:
        if not self.moments:
            return None
        return max(0.0, min(self.moments.values()) - time.monotonic())
