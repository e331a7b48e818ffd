"""A directory (or file) of manifests as a source: what is written is read again 50 ms after the last write.

Events only say when to look; what is there is always read whole, and is read once in each `interval` anyhow. A
directory that is not there, or holds no manifest, is a trouble and never a revision: what was applied stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Collection
from dataclasses import replace
from pathlib import Path

from reconciler.sources.files import commit_of
from reconciler.sources.revision import Revision, SourceTrouble, digest_of, trouble_of
from reconciler.sources.snapshot import NOTHING, Snapshot, Stamp, stamps_of, take
from reconciler.sources.watch import Watch
from schemas.errors import TrimtabError

SETTLE = 0.05
LONGEST_SETTLE = 2.0
"""Seconds after the first write, at most, whoever keeps writing."""
GLANCE = 1.0
"""Seconds between two looks at whether the directory is still the same one: a mount over it gives no event."""
SECOND_LOOK = 0.25
"""Seconds after a change: a file made in a new directory before that was watched gave no event."""
WITHOUT_WATCH = 2.0
"""Seconds between two looks where the kernel has no watch left to give."""


class WatchedDirectory:
    """Follows `path`. `interval`: seconds after which it is read again without any event; `settle`: seconds without a
    write after which what was written is read."""

    def __init__(self, path: Path, interval: float = 60.0, settle: float = SETTLE) -> None:
        self.path = path.absolute()
        self.interval = interval
        self.settle = settle
        self.next_look = 0.0
        self._attended: frozenset[Path] = frozenset()
        self._links: frozenset[Path] = frozenset()
        self._last = NOTHING
        self._digest, self._id = "", ""
        self._known: tuple[str, tuple[Stamp, ...], str] = "", (), ""
        self._wake = asyncio.Event()
        self._forced = False
        self._written = 0.0

    def fetch_now(self) -> None:
        self._forced = True
        self._wake.set()

    def attend(self, files: Collection[Path]) -> None:
        """Files that the manifests of the revision yielded last point at: a change of one is a new revision."""
        if frozenset(files) != self._attended:
            self._attended = frozenset(files)
            self._known = self._digest, stamps_of(files), self._id
            self._wake.set()

    async def stand(self, commit: str) -> None:
        """Nothing: the directory is somebody else's."""

    async def revisions(self) -> AsyncGenerator[Revision | SourceTrouble]:
        loop = asyncio.get_running_loop()
        watch = Watch(self.path, lambda: _call(loop, self._touched))
        last: str | None = None
        try:
            while True:
                forced, self._forced = self._forced, False
                if forced or not self._wake.is_set():
                    # no event said what changed: nothing is believed to be as it was
                    self._last = replace(self._last, kept={})
                self._wake.clear()
                found, patience = await asyncio.to_thread(self._look, watch)
                said = found.id if isinstance(found, Revision) else f"!{found.message}"
                if said != last or forced:
                    changed, last = last is not None, said
                    yield found
                    patience = SECOND_LOOK if changed else patience
                await self._wait(watch, patience)
        finally:
            await asyncio.to_thread(watch.close)

    def _look(self, watch: Watch) -> tuple[Revision | SourceTrouble, float]:
        """What is there now, and seconds until the next look. The watch stands before anything is read."""
        watch.attended = self._attended
        patience = self.interval if self._arm(watch) else min(self.interval, WITHOUT_WATCH)
        try:
            snapshot = take(self.path, watch.attended, self._last)
            if snapshot.links != self._links:
                self._links = snapshot.links
                patience = patience if self._arm(watch) else min(self.interval, WITHOUT_WATCH)
                snapshot = take(self.path, watch.attended, snapshot)
        except TrimtabError as error:
            return trouble_of(error, time.time()), min(patience, GLANCE)
        self._last = snapshot
        return self._revision(snapshot), patience

    def _arm(self, watch: Watch) -> bool:
        try:
            watch.arm(self._links)
        except OSError:
            return False
        return True

    def _revision(self, snapshot: Snapshot) -> Revision:
        digest, attended, id = self._known
        if (snapshot.digest, snapshot.attended) != (digest, attended):
            id = digest_of([snapshot.digest.encode(), repr(snapshot.attended).encode()])
            id = id if snapshot.attended else snapshot.digest
        self._digest, self._id = snapshot.digest, id
        return Revision(id, snapshot.texts, self.path, commit_of([str(self.path)]), at=time.time())

    def _touched(self) -> None:
        self._written = time.monotonic()
        self._wake.set()

    async def _wait(self, watch: Watch, patience: float) -> None:
        """Until something was written and writing has paused, somebody asks, or `patience` seconds are over."""
        end, self.next_look = time.monotonic() + patience, time.time() + patience
        while not self._wake.is_set() and (left := end - time.monotonic()) > 0:
            try:
                # not wait_for, which may forget that it was cancelled
                async with asyncio.timeout(min(left, GLANCE)):
                    await self._wake.wait()
            except TimeoutError:
                if watch.is_stale():
                    return
        first = time.monotonic()
        while not self._forced and (quiet := self._written + self.settle - time.monotonic()) > 0:
            if time.monotonic() - first > max(LONGEST_SETTLE, self.settle):
                return
            await asyncio.sleep(quiet)


def _call(loop: asyncio.AbstractEventLoop, function: object) -> None:
    """From another thread; an event after the loop has ended is nobody's."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)  # type: ignore[arg-type]
