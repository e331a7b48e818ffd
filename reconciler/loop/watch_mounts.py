"""Changes of mounts, in the engine's own namespace and in the containers': proc_pid_mountinfo(5) tells by POLLPRI."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path


class MountChanges:
    """Made and used in one event loop. A mountinfo file is always readable, so an epoll of its own asks for POLLPRI."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[str, Callable[[], None]]] = {}
        self._descriptors: dict[str, tuple[int, int]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._read)

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

    def _read(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            if descriptor in self._watched:
                self._watched[descriptor][1]()

    def close(self) -> None:
        for token in list(self._descriptors):
            self.forget(token)
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
