"""Ends of processes, by pidfd: each container's init and monitor, the DNS server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from runtime.kernel.process import open_process


@dataclass(frozen=True, slots=True)
class Followed:
    """One process: `start_time` in clock ticks since boot guards against a reused pid."""

    descriptor: int
    pid: int
    start_time: int


class ProcessEnds:
    """Made and used in one event loop. `token` names what is followed: one process at a time each."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._followed: dict[Hashable, Followed] = {}

    def __len__(self) -> int:
        return len(self._followed)

    def follow(self, token: Hashable, pid: int, start_time: int, ended: Callable[[], None]) -> None:
        """Call `ended` once when that process has ended; soon, if it has already."""
        known = self._followed.get(token)
        if known is not None and (known.pid, known.start_time) == (pid, start_time):
            return
        self.forget(token)
        descriptor = open_process(pid, start_time)
        if descriptor is None:
            self._loop.call_soon(ended)
            return
        self._followed[token] = Followed(descriptor, pid, start_time)
        self._loop.add_reader(descriptor, self._on_end, token, ended)

    def _on_end(self, token: Hashable, ended: Callable[[], None]) -> None:
        self.forget(token)
        ended()

    def forget(self, token: Hashable) -> None:
        """Idempotent."""
        followed = self._followed.pop(token, None)
        if followed is not None:
            self._loop.remove_reader(followed.descriptor)
            os.close(followed.descriptor)

    def close(self) -> None:
        for token in list(self._followed):
            self.forget(token)
