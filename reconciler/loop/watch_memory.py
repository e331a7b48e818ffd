"""Processes of containers that the kernel killed for want of memory, also where the container itself goes on.

The kernel counts them in files of the cgroup; that the count may have changed is told by inotify on v2 (`watching`) and
by an eventfd on v1, there a moment before the kill. Says how many more there are, and acts on nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from reconciler.store.events import Event
from runtime.kernel import cgroup
from schemas.names import Key

LOOKS = (0.0, 0.05, 0.2, 1.0, 5.0)
"""Seconds after a notice at which the count is looked at: the victim may take its time to die."""


@dataclass(slots=True)
class Followed:
    """One container's present process. `count`: how many kills are told. `notices`: v1's eventfd."""

    init: str
    path: str
    count: int
    notices: int | None


class MemoryKills:
    """Made and used in one event loop. `killed` is called with the container and how many more were killed."""

    def __init__(self, killed: Callable[[Key, int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._killed = killed
        self._followed: dict[Key, Followed] = {}

    def __len__(self) -> int:
        return len(self._followed)

    def follow(self, key: Key, path: str, init: str, *, fresh: bool) -> None:
        """The container whose cgroup is `path`, as long as `init` names its process.

        Of one that is not `fresh`, what was killed before counts as told.
        """
        known = self._followed.get(key)
        if known is not None and known.init == init:
            return
        self.forget(key)
        notices = cgroup.memory_notices(path)
        self._followed[key] = Followed(init, path, 0 if fresh else _count(path), notices)
        if notices is not None:
            self._loop.add_reader(notices, self._noticed, key, notices)
        if fresh:
            self.look(key)

    def look(self, key: Key) -> None:
        """Whether there are more than were told."""
        followed = self._followed.get(key)
        if followed is None:
            return
        count = _count(followed.path)
        more, followed.count = count - followed.count, max(count, followed.count)
        if more > 0:
            self._killed(key, more)

    def _noticed(self, key: Key, notices: int) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(notices)
        for seconds in LOOKS:
            self._loop.call_later(seconds, self.look, key)

    def forget(self, key: Key) -> None:
        """Idempotent."""
        followed = self._followed.pop(key, None)
        if followed is not None and followed.notices is not None:
            self._loop.remove_reader(followed.notices)
            os.close(followed.notices)

    def close(self) -> None:
        for key in list(self._followed):
            self.forget(key)


def out_of_memory(key: Key, count: int, now: float) -> Event:
    """What `events` and `describe` say of it."""
    which = "one of its processes was" if count == 1 else f"{count} of its processes were"
    return Event(now, str(key), "Warning", "OutOfMemory", f"{which} killed for want of memory")


def _count(path: str) -> int:
    try:
        return cgroup.oom_kills(path)
    except OSError:
        # it went away while it was looked at
        return 0
