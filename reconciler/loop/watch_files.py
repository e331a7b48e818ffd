"""Changes below directories, by inotify(7): what stands in the engine's root and run directories, and in cgroups.

A watch is on one directory and says only which of its names changed; whoever watches gave it a meaning.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

from runtime.kernel.inotify import (
    IN_CREATE,
    IN_DELETE,
    IN_IGNORED,
    IN_MODIFY,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    inotify_add_watch,
    inotify_init1,
    inotify_rm_watch,
    read_events,
)

COMING_AND_GOING = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR
WRITING = IN_MODIFY | IN_ONLYDIR

Changed = Callable[[str], None]
"""Called with the name within the directory."""


class FileChanges:
    """Made and used in one event loop."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._descriptor = inotify_init1()
        self._watches: dict[int, tuple[str, Changed]] = {}
        self._paths: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)

    def __len__(self) -> int:
        return len(self._watches)

    def watch(self, path: str, mask: int, changed: Changed) -> bool:
        """From now on; also where another directory stands there than before. False where there is none, or the kernel
        takes no more."""
        try:
            watch = inotify_add_watch(self._descriptor, path, mask)
        except OSError:
            return False
        before = self._paths.get(path, watch)
        if before != watch and self._watches.get(before, ("", None))[0] == path:
            # another directory of that name: the kernel has forgotten the old one, or is about to
            self._watches.pop(before, None)
        self._watches[watch] = (path, changed)
        self._paths[path] = watch
        return True

    def is_watched(self, path: str) -> bool:
        return path in self._paths

    def forget(self, path: str) -> None:
        """Idempotent."""
        watch = self._paths.pop(path, None)
        if watch is not None and self._watches.pop(watch, None) is not None:
            with suppress(OSError):
                inotify_rm_watch(self._descriptor, watch)

    def _read(self) -> None:
        seen: dict[tuple[int, str], None] = {}
        for event in read_events(self._descriptor):
            if event.mask & IN_Q_OVERFLOW:
                self._lost("more files changed than could be told")
            elif event.mask & IN_IGNORED:
                path, _ = self._watches.pop(event.watch, ("", None))
                if self._paths.get(path) == event.watch:
                    del self._paths[path]
            else:
                seen[event.watch, event.name] = None
        for watch, name in seen:
            if watch in self._watches:
                self._watches[watch][1](name)

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
