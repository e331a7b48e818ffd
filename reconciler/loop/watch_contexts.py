"""What images are built of: contexts on this machine, watched so that an edit is built and runs within a moment.

Every directory of a context that its ignore file does not leave out has a watch; others beside it (the Dockerfile
elsewhere, a tar) are watched by their name. An event says only that something was written: what changed, and whether
any step takes it, is found out by whoever compares. Where the kernel has no watch left, the resync finds it.

Made and used in one event loop; directories are walked in a thread.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from reconciler.loop.watch_files import COMING_AND_GOING, FileChanges
from reconciler.sources.watch import steps_to
from runtime.kernel.inotify import IN_ATTRIB, IN_CLOSE_WRITE
from schemas.build import BuildSpec, is_remote
from schemas.dockerfile.ignore import Ignore
from schemas.errors import TrimtabError
from schemas.names import Key

WRITTEN = COMING_AND_GOING | IN_CLOSE_WRITE | IN_ATTRIB
SETTLE = 0.1
LONGEST_SETTLE = 2.0
"""Seconds after the first write, at most, whoever keeps writing."""
MOST_DIRECTORIES = 50_000
"""Of one context: a mistake, such as `context: /`, does not take all watches there are."""

AT_ONCE = 500
"""Watches, before others have their turn in the loop."""

Changed = Callable[[Iterable[Key], str], None]


@dataclass(frozen=True, slots=True)
class Walked:
    """Directories to watch whole, with their path in the context; others, of which some names matter.

    `places`: the watch of each.
    """

    whole: Mapping[str, str]
    named: Mapping[str, frozenset[str]]
    ignore: Ignore | None = None
    places: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Followed:
    """One image's contexts: what is watched of them, and since when a write is waited out."""

    spec: BuildSpec
    walked: Walked = field(default_factory=lambda: Walked({}, {}))
    first: float = 0.0
    timer: asyncio.TimerHandle | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class ContextChanges:
    """`changed` is called with the image's key once nobody has written for a moment."""

    def __init__(self, changed: Changed) -> None:
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._files: FileChanges | None = None
        self._followed: dict[Key, _Followed] = {}

    def know(self, builds: Mapping[Key, BuildSpec]) -> None:
        """These images are built of these; others no more."""
        for key in [key for key, each in self._followed.items() if builds.get(key) != each.spec]:
            self._forget(key)
        for key, spec in builds.items():
            if key not in self._followed and any(local_places(spec)):
                self._followed[key] = _Followed(spec)
                self._begin(key)

    def close(self) -> None:
        for key in list(self._followed):
            self._forget(key)
        if self._files is not None:
            self._files.close()

    def _forget(self, key: Key) -> None:
        gone = self._followed.pop(key)
        if gone.timer is not None:
            gone.timer.cancel()
        for task in gone.tasks:
            task.cancel()
        self._forget_paths(gone.walked.places)

    def _forget_paths(self, paths: Iterable[str]) -> None:
        """Those that no other image is built of."""
        for path in paths:
            if self._files is not None and not any(path in each.walked.places for each in self._followed.values()):
                self._files.forget(path)

    def _begin(self, key: Key) -> None:
        followed = self._followed[key]
        task = self._loop.create_task(self._arm(key, followed))
        followed.tasks.add(task)
        task.add_done_callback(followed.tasks.discard)

    async def _arm(self, key: Key, followed: _Followed) -> None:
        """Watch what is there now; and since it may have been written to before it was watched, have it looked at."""
        walked = await self._loop.run_in_executor(None, walk, followed.spec)
        if self._followed.get(key) is not followed or not self._can_watch():
            return
        gone = followed.walked.places.keys() - walked.places.keys()
        followed.walked = walked
        self._forget_paths(gone)
        if await self._watch(walked):
            self._touched(key)

    def _can_watch(self) -> bool:
        """Whether the kernel gives what watches are made with."""
        if self._files is None:
            with suppress(OSError):
                self._files = FileChanges(self._lost)
        return self._files is not None

    def _lost(self, why: str) -> None:
        for key in list(self._followed):
            self._touched(key)

    async def _watch(self, walked: Walked) -> bool:
        """All of it, also what is watched: another directory may stand there. Whether any is new."""
        fresh = False
        for count, (path, mask) in enumerate(walked.places.items()):
            if count % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            assert self._files is not None
            known = self._files.is_watched(path)
            is_watched = self._files.watch(path, mask, partial(self._written, path))
            fresh = fresh or (is_watched and not known)
        return fresh

    def _written(self, directory: str, name: str) -> None:
        for key, followed in list(self._followed.items()):
            if matters(followed.walked, directory, name):
                self._touched(key)

    def _touched(self, key: Key) -> None:
        followed, now = self._followed.get(key), time.monotonic()
        if followed is None:
            return
        if followed.timer is None:
            followed.first = now
        else:
            followed.timer.cancel()
        pause = min(SETTLE, max(0.0, followed.first + LONGEST_SETTLE - now))
        followed.timer = self._loop.call_later(pause, self._tell, key)

    def _tell(self, key: Key) -> None:
        if (followed := self._followed.get(key)) is None:
            return
        followed.timer = None
        self._changed([key], "its build context changed")
        self._begin(key)


def local_places(spec: BuildSpec) -> Iterator[str]:
    """Contexts that lie on this machine, and a Dockerfile that lies outside of them."""
    yield from (place for place in (spec.context, *spec.additional_contexts.values()) if not is_remote(place))
    if spec.dockerfile_inline is None and spec.dockerfile.startswith("/"):
        yield spec.dockerfile


def walk(spec: BuildSpec) -> Walked:
    """What must be watched to learn of every change. Reads directories only; one that is gone has its name watched."""
    whole: dict[str, str] = {}
    named: dict[str, set[str]] = {}
    ignore = _ignore_of(spec)
    for place in local_places(spec):
        for step in steps_to(Path(place)):
            named.setdefault(str(step.parent), set()).add(step.name)
        if os.path.isdir(place):  # noqa: PTH112
            for path, below in _directories(os.path.realpath(place), ignore if place == spec.context else None):
                whole[path] = below
    beside = {path: frozenset(names) for path, names in named.items() if path not in whole}
    return Walked(whole, beside, ignore, {path: _mask(path, names) for path, names in beside.items()} | _all(whole))


def _all(whole: Mapping[str, str]) -> dict[str, int]:
    return dict.fromkeys(whole, WRITTEN)


def _mask(directory: str, names: Iterable[str]) -> int:
    """Writes only where a name is no directory: what stands beside a context may be written to all the time."""
    return COMING_AND_GOING if all(os.path.isdir(f"{directory}/{name}") for name in names) else WRITTEN  # noqa: PTH112


def matters(walked: Walked, directory: str, name: str) -> bool:
    """Whether a name that changed in a directory may change what is built."""
    if (names := walked.named.get(directory)) is not None:
        return name in names
    below = walked.whole.get(directory)
    if below is None or walked.ignore is None or name == ".dockerignore":
        return True
    path = f"{below}/{name}" if below else name
    return not (walked.ignore.matches(path) and walked.ignore.prunes(path))


def _ignore_of(spec: BuildSpec) -> Ignore | None:
    """One that cannot be read leaves nothing out."""
    from reconciler.build.contexts import read_ignore_of  # only where something is built

    if is_remote(spec.context):
        return None
    own = "" if spec.dockerfile_inline is not None or spec.dockerfile.startswith("/") else spec.dockerfile
    try:
        return read_ignore_of(Path(spec.context), own)
    except (TrimtabError, OSError):
        return None


def _directories(top: str, ignore: Ignore | None) -> Iterator[tuple[str, str]]:
    """Each directory, and its path below the top; links are not followed."""
    left, count = [(top, "")], 0
    while left and count < MOST_DIRECTORIES:
        directory, below = left.pop()
        count += 1
        yield directory, below
        try:
            with os.scandir(directory) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for name in names:
            path = f"{below}/{name}" if below else name
            if ignore is None or not (ignore.matches(path) and ignore.prunes(path)):
                left.append((f"{directory}/{name}", path))
