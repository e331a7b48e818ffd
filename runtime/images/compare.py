"""How the files of two images differ: as overlay would show each, without mounting either.

Called for `trimtab image diff`. Layers that both have are not read: a file that is the same inode is the same. Reads by
descriptor, follows no links, changes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from runtime.images.changes import DIRECTORY, Change, Kind, lookup, merged

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20


def image_changes(old: Sequence[Path], new: Sequence[Path]) -> Iterator[Change]:
    """What `new` has added, changed and deleted; trees highest first. Parents first, names in order. Raises OSError."""
    with ExitStack() as opened:
        sides = [[os.open(path, DIRECTORY) for path in trees] for trees in (old, new)]
        for fd in (*sides[0], *sides[1]):
            opened.callback(os.close, fd)
        yield from _below(sides[0], sides[1], b"")


def _below(old: Sequence[int], new: Sequence[int], path: bytes) -> Iterator[Change]:
    for name in sorted(_names(old) | _names(new)):
        before, after = lookup(old, name), lookup(new, name)
        if before is None and after is None:
            continue
        if after is None:
            yield Change(Kind.DELETED, path + name)
        else:
            yield from _entry((old, new), name, path + name, before, after)


def _names(trees: Sequence[int]) -> set[bytes]:
    return {os.fsencode(name) for fd in trees for name in os.listdir(fd)}  # noqa: PTH208 (descriptors)


def _entry(
    sides: tuple[Sequence[int], Sequence[int]],
    name: bytes,
    path: bytes,
    before: os.stat_result | None,
    after: os.stat_result,
) -> Iterator[Change]:
    old, new = sides
    with ExitStack() as opened:
        is_directory = stat.S_ISDIR(after.st_mode)
        was_directory = before is not None and stat.S_ISDIR(before.st_mode)
        inside = merged(new, name, opened) if is_directory else []
        changes = list(_below(merged(old, name, opened) if was_directory else [], inside, path + b"/"))
        if before is None:
            yield Change(Kind.ADDED, path)
        elif changes or not _is_alike(old, new, name, before, after):
            yield Change(Kind.CHANGED, path)
        yield from changes


def _is_alike(
    old: Sequence[int], new: Sequence[int], name: bytes, before: os.stat_result, after: os.stat_result
) -> bool:
    if os.path.samestat(before, after):
        return True
    if (before.st_mode, before.st_uid, before.st_gid, before.st_rdev) != (
        *(after.st_mode, after.st_uid, after.st_gid, after.st_rdev),
    ):
        return False
    if stat.S_ISLNK(after.st_mode):
        return _link(old, name) == _link(new, name)
    if stat.S_ISREG(after.st_mode):
        return before.st_size == after.st_size and _same_content(old, new, name)
    return True


def _link(trees: Sequence[int], name: bytes) -> bytes:
    return os.readlink(name, dir_fd=_holder(trees, name))


def _holder(trees: Sequence[int], name: bytes) -> int:
    """The highest layer that has the name."""
    for fd in trees:
        try:
            os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        return fd
    raise FileNotFoundError(name)


def _same_content(old: Sequence[int], new: Sequence[int], name: bytes) -> bool:
    one = os.open(name, _FILE, dir_fd=_holder(old, name))
    try:
        other = os.open(name, _FILE, dir_fd=_holder(new, name))
        try:
            while (piece := os.read(one, _PIECE)) == os.read(other, _PIECE):
                if not piece:
                    return True
            return False
        finally:
            os.close(other)
    finally:
        os.close(one)
