"""What a container has changed of its image: read from overlay's upper directory, without a walk of the image.

Called for `trimtab diff --fs` and by `commit`. The image's layers are only asked whether they have a path. Reads by
descriptor, follows no links, changes nothing.

Source: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from runtime.images.mend import is_opaque

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Kind(StrEnum):
    """As `docker diff` writes them."""

    ADDED = "A"
    CHANGED = "C"
    DELETED = "D"


@dataclass(frozen=True, slots=True)
class Change:
    """One path below the root, without a leading slash. `is_opaque`: a directory that hides what the image has there;
    `is_hidden`: deleted by such a directory, and not by a whiteout of its own."""

    kind: Kind
    path: bytes
    is_opaque: bool = False
    is_hidden: bool = False

    def describe(self) -> str:
        """`A /etc/new`."""
        return f"{self.kind} /{os.fsdecode(self.path)}"


def read_changes(upper: Path, layers: Sequence[Path], mounted: Collection[bytes] = ()) -> tuple[Change, ...]:
    """Parents first, names in order. `layers`: the image's trees, highest first; `mounted`: paths where something is
    mounted: files and directories that only stand there for it, or on the way to it, are no changes. Raises OSError."""
    with ExitStack() as opened:
        fds = [os.open(path, DIRECTORY) for path in (upper, *layers)]
        for fd in fds:
            opened.callback(os.close, fd)
        return tuple(_Reader(frozenset(mounted), frozenset(_ways(mounted))).below(fds[0], fds[1:], b""))


def _ways(mounted: Collection[bytes]) -> Iterator[bytes]:
    """The directories that lead to what is mounted, and those it is mounted on."""
    for path in mounted:
        names = path.split(b"/")
        yield from (b"/".join(names[:end]) for end in range(1, len(names) + 1))


@dataclass(frozen=True, slots=True)
class _Reader:
    mounted: frozenset[bytes]
    ways: frozenset[bytes]

    def below(self, upper: int, lowers: Sequence[int], path: bytes) -> Iterator[Change]:
        """`lowers`: the same directory in each layer that overlay merges there."""
        for name in sorted(os.fsencode(name) for name in os.listdir(upper)):
            yield from self._entry(upper, lowers, name, path + name)

    def _entry(self, upper: int, lowers: Sequence[int], name: bytes, path: bytes) -> Iterator[Change]:
        found = os.stat(name, dir_fd=upper, follow_symlinks=False)
        before = lookup(lowers, name)
        if _is_whiteout(found):
            if before is not None:
                yield Change(Kind.DELETED, path)
        elif stat.S_ISDIR(found.st_mode):
            yield from self._directory(upper, lowers, name, path, before)
        elif not (path in self.mounted and before is None and found.st_size == 0):
            yield Change(Kind.CHANGED if before is not None else Kind.ADDED, path)

    def _directory(
        self, upper: int, lowers: Sequence[int], name: bytes, path: bytes, before: os.stat_result | None
    ) -> Iterator[Change]:
        with ExitStack() as opened:
            fd = os.open(name, DIRECTORY, dir_fd=upper)
            opened.callback(os.close, fd)
            was_directory = before is not None and stat.S_ISDIR(before.st_mode)
            below = merged(lowers, name, opened) if was_directory else []
            hides = is_opaque(fd) and was_directory
            changes = list(self.below(fd, [] if hides else below, path + b"/"))
            if hides:
                changes = sorted([*changes, *_hidden(fd, below, path)], key=lambda change: change.path)
            if before is None:
                if changes or path not in self.ways:
                    yield Change(Kind.ADDED, path)
            elif changes or not was_directory or not _is_alike(os.fstat(fd), before):
                yield Change(Kind.CHANGED, path, is_opaque=hides)
            yield from changes


def _hidden(upper: int, lowers: Sequence[int], path: bytes) -> Iterator[Change]:
    """What the image has in a directory that hides it, and that is not there any more."""
    kept = {os.fsencode(name) for name in os.listdir(upper)}
    names = {os.fsencode(name) for lower in lowers for name in os.listdir(lower)} - kept  # noqa: PTH208 (descriptors)
    for name in names:
        if lookup(lowers, name) is not None:
            yield Change(Kind.DELETED, path + b"/" + name, is_hidden=True)


def lookup(lowers: Sequence[int], name: bytes) -> os.stat_result | None:
    """What the image shows by that name."""
    for lower in lowers:
        try:
            found = os.stat(name, dir_fd=lower, follow_symlinks=False)
        except FileNotFoundError:
            continue
        return None if _is_whiteout(found) else found
    return None


def merged(lowers: Sequence[int], name: bytes, opened: ExitStack) -> list[int]:
    """The layers' directories by that name that overlay merges: down to the first that hides the rest."""
    found: list[int] = []
    for lower in lowers:
        try:
            fd = os.open(name, DIRECTORY, dir_fd=lower)
        except FileNotFoundError:
            continue
        except OSError:  # a file, a link, a whiteout
            break
        opened.callback(os.close, fd)
        found.append(fd)
        if is_opaque(fd):
            break
    return found


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_alike(now: os.stat_result, before: os.stat_result) -> bool:
    """A directory that was only copied up for what is in it."""
    return (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
