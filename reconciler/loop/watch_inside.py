"""Below layers and volumes: each layer's tree and each volume's data, whose removal their parents do not tell.

One watch for each of their directories, by the inotify instance of the other files; of so many, that others have some
too. Where there are more, or the kernel has none left, that is told once, and the resync finds what happens to others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from reconciler.loop.watch_files import COMING_AND_GOING, FileChanges

MOST_WATCHES = 4096
TREE = "tree"
DATA = "_data"

Changed = Callable[[str], None]
"""Called with the layer's or the volume's name."""


class InsideChanges:
    """Made and used in one event loop. `full`: called once with how many are watched, when no more can be."""

    def __init__(self, files: FileChanges, full: Callable[[int], None], most: int = MOST_WATCHES) -> None:
        self._files = files
        self._full = full
        self._most = most
        self._watched: set[str] = set()
        self._is_told = False

    def know_layers(self, directory: Path, changed: Changed) -> None:
        """All that are there."""
        with suppress(OSError):
            self._know(directory, TREE, changed, [each.name for each in directory.iterdir() if each.name[0] != "."])

    def know_volumes(self, directory: Path, changed: Changed, names: Iterable[str]) -> None:
        self._know(directory, DATA, changed, names)

    def renew(self, directory: Path, name: str, changed: Changed) -> None:
        """A layer came or went."""
        self._forget(f"{directory}/{name}")
        self._know(directory, TREE, changed, [name])

    def _know(self, directory: Path, inner: str, changed: Changed, names: Iterable[str]) -> None:
        for name in names:
            path = f"{directory}/{name}"
            if path in self._watched and self._files.is_watched(path):
                continue
            self._watched.discard(path)
            if len(self._watched) >= self._most and not self._swept():
                self._tell()
                return
            if self._files.watch(path, COMING_AND_GOING, partial(_told, inner, changed, name)):
                self._watched.add(path)
            elif os.path.isdir(path):  # noqa: PTH112
                self._tell()
                return

    def _swept(self) -> bool:
        """Whether there is room without those that are gone."""
        self._watched = {path for path in self._watched if self._files.is_watched(path)}
        return len(self._watched) < self._most

    def _forget(self, path: str) -> None:
        self._watched.discard(path)
        self._files.forget(path)

    def _tell(self) -> None:
        if not self._is_told:
            self._is_told = True
            self._full(len(self._watched))


def _told(inner: str, changed: Changed, name: str, entry: str) -> None:
    if entry == inner:
        changed(name)
