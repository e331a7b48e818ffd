"""Changes of mounts, in the engine's own namespace and in the containers': proc_pid_mountinfo(5) tells by POLLPRI."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class MountChanges:
    """Made and used in one event loop.

    A thread waits: a mountinfo file forgets its change as soon as anybody asks, so that an epoll within the event
    loop's own would tell that something changed and not what.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._epoll.register(self._end, select.EPOLLIN)
        self._watched: dict[int, tuple[str, Callable[[], None]]] = {}
        self._descriptors: dict[str, tuple[int, int]] = {}
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._wait, name="mounts", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, token: str, pid: int, changed: Callable[[], None]) -> None:
        """From now on, of the mount namespace of process `pid`; 0 is our own."""
        if token in self._descriptors and self._descriptors[token][1] == pid:
            return
        self.forget(token)
        path = Path("/proc") / (str(pid) if pid else "self") / "mountinfo"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        self._watched[descriptor] = (token, changed)
        self._descriptors[token] = (descriptor, pid)
        self._epoll.register(descriptor, select.EPOLLPRI)

    def forget(self, token: str) -> None:
        """Idempotent."""
        descriptor, _ = self._descriptors.pop(token, (-1, 0))
        if descriptor >= 0:
            del self._watched[descriptor]
            self._epoll.unregister(descriptor)
            os.close(descriptor)

    def _wait(self) -> None:
        while True:
            ready = [descriptor for descriptor, _ in self._epoll.poll()]
            if self._end in ready:
                return
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._tell, ready)

    def _tell(self, ready: list[int]) -> None:
        for descriptor in ready:
            if descriptor in self._watched:
                self._watched[descriptor][1]()

    def close(self) -> None:
        os.eventfd_write(self._end, 1)
        self._thread.join()
        for token in list(self._descriptors):
            self.forget(token)
        self._epoll.close()
        os.close(self._end)
