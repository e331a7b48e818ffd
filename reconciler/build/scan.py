"""Trees as listings: walked by descriptor, never through a link; digests of files computed when somebody takes them.

Called for contexts, whose digests are remembered from one build to the next as long as a file's inode, change time and
size are the same, and for the trees that steps have made. Changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from reconciler.build.select import MOST_LINKS, TOP, Entry, Kind, Listing, Taken
from runtime.kernel.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from schemas.dockerfile.ignore import Ignore
from schemas.errors import Refused, RetryLater

PIECE = 1 << 20
DEPTH = 256
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WILD = frozenset("*?[\\")

Signature = tuple[int, int, int]
"""Inode, change time in nanoseconds, size in bytes: no tool sets a change time back."""
Remembered = Mapping[str, tuple[Signature, str]]
"""A path's signature, and the digest its file had then."""


class HasFiles(Protocol):
    """What files are read from: a descriptor of the top, and what is known of what is below."""

    @property
    def top(self) -> int: ...

    @property
    def listing(self) -> Listing: ...

    @property
    def signatures(self) -> Mapping[str, Signature]: ...


@dataclass(slots=True)
class Scan:
    """A tree that was walked. `top` is an open directory, the caller's to close."""

    top: int
    listing: Listing
    signatures: dict[str, Signature] = field(default_factory=dict)


@dataclass(slots=True)
class _Walk:
    ignore: Ignore | None
    remembered: Remembered
    keeps_owners: bool
    entries: dict[str, Entry] = field(default_factory=dict)
    signatures: dict[str, Signature] = field(default_factory=dict)

    def directory(self, fd: int, prefix: str, depth: int) -> bool:
        """Everything in the directory; whether anything of it is kept."""
        if depth > DEPTH:
            raise Refused(f"directories are nested deeper than {DEPTH}", path=prefix, step="read the context")
        kept = False
        with os.scandir(fd) as found:
            for each in found:
                kept = self._one(fd, each, prefix + each.name, depth) or kept
        return kept

    def _one(self, fd: int, each: os.DirEntry[str], path: str, depth: int) -> bool:
        is_directory = each.is_dir(follow_symlinks=False)
        ignore = self.ignore
        ignored = ignore is not None and ignore.matches(path)
        if ignored and (not is_directory or (ignore is not None and ignore.prunes(path))):
            return False
        try:
            if is_directory:
                return self._below(fd, each.name, path, ignored=ignored, depth=depth)
            found = each.stat(follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                self._file(path, found)
            else:
                self._other(fd, each.name, path, found)
        except FileNotFoundError:  # it went while we looked
            return False
        return True

    def _below(self, fd: int, name: str, path: str, *, ignored: bool, depth: int) -> bool:
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            kept = self.directory(inner, f"{path}/", depth + 1)
            if kept or not ignored:
                self.entries[path] = self._entry(Kind.DIRECTORY, os.fstat(inner))
        finally:
            os.close(inner)
        return kept or not ignored

    def _other(self, fd: int, name: str, path: str, found: os.stat_result) -> None:
        mode = found.st_mode
        if stat.S_ISLNK(mode):
            self.entries[path] = self._entry(Kind.SYMLINK, found, os.readlink(name, dir_fd=fd))
        elif not stat.S_ISSOCK(mode):
            kind = "c" if stat.S_ISCHR(mode) else "b" if stat.S_ISBLK(mode) else "p"
            self.entries[path] = self._entry(Kind.OTHER, found, f"{kind} {found.st_rdev}")

    def _file(self, path: str, found: os.stat_result) -> None:
        signature = (found.st_ino, found.st_ctime_ns, found.st_size)
        self.signatures[path] = signature
        known = self.remembered.get(path)
        digest = known[1] if known is not None and known[0] == signature else ""
        self.entries[path] = self._entry(Kind.FILE, found, digest)

    def _entry(self, kind: Kind, found: os.stat_result, content: str = "") -> Entry:
        mode = found.st_mode & 0o7777
        return (
            Entry(kind, mode, content, found.st_uid, found.st_gid) if self.keeps_owners else Entry(kind, mode, content)
        )


def scan(top: int, ignore: Ignore | None = None, remembered: Remembered | None = None) -> Scan:
    """A whole context. Owners do not count in one. Raises Refused for a directory that cannot be read."""
    walk = _Walk(ignore, remembered or {}, keeps_owners=False)
    walk.directory(top, "", 0)
    return Scan(top, Listing(walk.entries), walk.signatures)


def scan_for(top: int, paths: Iterable[str], *, whole: bool = False) -> Scan:
    """Of a tree that a step made, what the paths name: a large image is not walked for one file of it."""
    walk = _Walk(None, {}, keeps_owners=True)
    wanted = list(paths)
    if whole or any(path == TOP or not _WILD.isdisjoint(path) for path in wanted):
        walk.directory(top, "", 0)
    else:
        for path in wanted:
            _look(walk, top, path)
    entries = {TOP: walk._entry(Kind.DIRECTORY, os.fstat(top)), **walk.entries}
    return Scan(top, Listing(entries), walk.signatures)


def _look(walk: _Walk, top: int, path: str) -> None:
    """The entries on the way to a path, links followed inside the tree, and what is below its end."""
    left, done, links = [part for part in path.split("/") if part not in ("", ".")], "", 0
    while left:
        part = left.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        here = f"{done}/{part}" if done else part
        fd = open_below(top, done or TOP, _DIRECTORY)
        try:
            found = os.stat(part, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                done = here
                walk.entries.setdefault(here, walk._entry(Kind.DIRECTORY, found))
                continue
            target = os.readlink(part, dir_fd=fd) if stat.S_ISLNK(found.st_mode) else None
        except FileNotFoundError:
            _names_beside(walk, fd, done)
            return
        finally:
            os.close(fd)
        if target is None:
            _leaf_at(walk, here, found)
            return
        walk.entries[here] = walk._entry(Kind.SYMLINK, found, target)
        links += 1
        if links > MOST_LINKS:
            return
        done = "" if target.startswith("/") else done
        left = [*target.split("/"), *left]
    fd = open_below(top, done or TOP, _DIRECTORY)
    try:
        walk.directory(fd, f"{done}/" if done else "", 0)
    finally:
        os.close(fd)


def _leaf_at(walk: _Walk, path: str, found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        walk._file(path, found)
    else:
        walk.entries[path] = walk._entry(Kind.OTHER, found, f"{stat.S_IFMT(found.st_mode):o} {found.st_rdev}")


def _names_beside(walk: _Walk, fd: int, done: str) -> None:
    """What is there in place of what is missing, so that the complaint can name the nearest."""
    for name in os.listdir(fd):
        path = f"{done}/{name}" if done else name
        walk.entries.setdefault(path, Entry(Kind.OTHER, 0, "unread"))


def open_below(top: int, path: str, flags: int = _FILE) -> int:
    """A path without links below an open directory. Raises OSError."""
    return openat2(top, path, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def with_digests(tree: HasFiles, selection: Sequence[Taken]) -> None:
    """Fill in the digest of each file that was taken and has none yet. Raises RetryLater, Refused."""
    entries = tree.listing.entries
    for taken in selection:
        for _, path in (("", taken.top), *taken.members):
            entry = entries[path]
            if entry.kind is Kind.FILE and not entry.content:
                entries[path] = replace(entry, content=file_digest(tree, path))


def file_digest(tree: HasFiles, path: str) -> str:
    """`sha256:…` of a file of a tree."""
    hashed = hashlib.sha256()
    try:
        fd = open_below(tree.top, path)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        while piece := os.read(fd, PIECE):
            hashed.update(piece)
        require_same(tree, path, fd)
    finally:
        os.close(fd)
    return f"sha256:{hashed.hexdigest()}"


def require_same(tree: HasFiles, path: str, fd: int) -> None:
    """Raises RetryLater for a file that is another one than was seen, or was written to since."""
    seen, found = tree.signatures.get(path), os.fstat(fd)
    if seen is not None and seen != (found.st_ino, found.st_ctime_ns, found.st_size):
        raise RetryLater("changed while the image was built", path=path, step="read the context", hint="build again")


def _unreadable(path: str, error: OSError) -> Refused:
    return Refused(
        error.strerror or str(error),
        path=path,
        step="read the context",
        errno=error.errno,
        hint="or leave it out by .dockerignore",
    )
