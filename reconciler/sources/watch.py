"""Tells that something was written below a path, by watchdog, whatever becomes of the path itself.

The real directory is watched, and every directory that holds a link on the way to it: a symbolic link that is swapped
gives no event in what it pointed to, and a directory that was made anew has lost its watches. An event carries nothing
but that it happened; it is never the only way to learn of a change.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from reconciler.sources.files import SUFFIXES

KINDS: list[type[FileSystemEvent]] = [
    *(FileClosedEvent, FileMovedEvent, FileCreatedEvent, FileDeletedEvent),
    *(DirMovedEvent, DirCreatedEvent, DirDeletedEvent),
]
MOST_LINKS = 40
"""Links in a row before the kernel gives up (path_resolution(7))."""


@dataclass(frozen=True, slots=True)
class Place:
    """A directory to watch: all below it, or only those of its entries that are named. `identity` is its device and
    inode number: another directory may come to stand there."""

    directory: Path
    identity: tuple[int, int]
    names: frozenset[str] | None = None


class Watch(FileSystemEventHandler):
    """Calls `touched` from a thread of its own for what may matter: manifests, directories, links, `attended` files."""

    def __init__(self, path: Path, touched: Callable[[], None]) -> None:
        self.path = path
        self.attended: frozenset[Path] = frozenset()
        self._links: frozenset[Path] = frozenset()
        self._touched = touched
        self._places: frozenset[Place] = frozenset()
        self._observer: Any = None

    def arm(self, links: Collection[Path] = ()) -> bool:
        """Watch what stands there now; whether that is anything new, so that it must be read again. `links`: symbolic
        links below the path that lead to files elsewhere. Blocks. Raises OSError when no watch can be had."""
        self._links = frozenset(links)
        places = frozenset(self._wanted())
        if places == self._places and self._observer is not None and self._observer.is_alive():
            return False
        self.close()
        # a directory that is made and walked at once is watched twice: harmless, but an error would end the only reader
        warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
        observer: Any = Observer()
        for place in places:
            recursive = place.names is None
            observer.schedule(_Named(self, place), str(place.directory), recursive=recursive, event_filter=KINDS)
        try:
            observer.start()
        except OSError:
            observer.unschedule_all()
            raise
        self._observer, self._places = observer, places
        return True

    def is_stale(self) -> bool:
        """Whether something else stands there than what is watched."""
        return self._observer is not None and frozenset(self._wanted()) != self._places

    def _wanted(self) -> Iterator[Place]:
        return places_of(self.path, [*self._links, *self.attended])

    def close(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(5)
        self._observer, self._places = None, frozenset()

    def told(self, event: FileSystemEvent, place: Place) -> None:
        """From watchdog's thread."""
        paths = [Path(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path]
        if any(self._matters(path, event.is_directory, place) for path in paths):
            self._touched()

    def _matters(self, path: Path, is_directory: bool, place: Place) -> bool:
        if place.names is not None:
            return path.name in place.names or path == place.directory
        inside = path.parts[len(place.directory.parts) :]
        if any(is_hidden(name) for name in inside):
            return False
        return is_directory or path.suffix in SUFFIXES or path.name.startswith("..")


class _Named(FileSystemEventHandler):
    """One place's events, told to the watch together with the place."""

    def __init__(self, watch: Watch, place: Place) -> None:
        self._watch = watch
        self._place = place

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._watch.told(event, self._place)


def is_hidden(name: str) -> bool:
    """Whether an entry is left out. Kubernetes swaps `..data`, which is hidden but says that all else changed."""
    return name.startswith(".") and not name.startswith("..")


def places_of(path: Path, others: Collection[Path] = ()) -> Iterator[Place]:
    """What must be watched to learn of every change at `path` and `others`. Reads links and numbers only."""
    named: dict[Path, set[str]] = {}
    for link in (path, *others):
        for step in steps_to(link):
            directory, name = _nearest(step)
            named.setdefault(directory, set()).add(name)
    real = Path(os.path.realpath(path))
    if real.is_dir():
        yield from _place(real, None)
    for directory, names in named.items():
        yield from _place(directory, frozenset(names))


def steps_to(path: Path) -> Iterator[Path]:
    """Each symbolic link that the way to `path` leads over, and what is at its end."""
    at, todo, links = Path("/"), list(path.parts[1:]), 0
    while todo:
        step = at / todo.pop(0)
        if step.name == "..":
            at = at.parent
            continue
        try:
            target = step.readlink() if links < MOST_LINKS else None
        except OSError:
            target = None
        if target is None:
            at = step
            continue
        yield step
        links += 1
        at, todo = (Path("/"), [*target.parts[1:], *todo]) if target.is_absolute() else (at, [*target.parts, *todo])
    yield at


def _nearest(path: Path) -> tuple[Path, str]:
    """The nearest directory on the way to `path` that exists, and the entry of it that leads on."""
    for parent in path.parents:
        if parent.is_dir():
            return Path(os.path.realpath(parent)), path.relative_to(parent).parts[0]
    return Path("/"), path.parts[-1]


def _place(directory: Path, names: frozenset[str] | None) -> Iterator[Place]:
    try:
        status = directory.stat()
    except OSError:
        return
    yield Place(directory, (status.st_dev, status.st_ino), names)
