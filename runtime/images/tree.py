"""The directories of one layer while it is unpacked: opened by descriptor, made where missing, dressed last.

Called by the extractor inside the unpacking child. Every directory is reached component by component without following
links (`O_NOFOLLOW`); a link met on the way is resolved here, with the tree's top as `/`, so nothing leads outside.
What the layer says about a directory is set when everything in it is made. Keeps account of the directories that the
layer only implied.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from typing import NamedTuple

from runtime.images.limits import Limits
from runtime.images.unsound import Unsound

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
IMPLIED_MODE = 0o755
_OPAQUE_XATTR = "trusted.overlay.opaque"
_OPEN_DIRECTORIES = 200
_MAX_LINKS = 40
"""The kernel's own bound (MAXSYMLINKS)."""
_HELD_BYTES = 24 << 20
"""Names and extended attributes of directories, which are kept in memory until the end."""


class Said(NamedTuple):
    """What the layer says about a directory."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict[bytes, bytes] | None


Dress = Callable[[bytes, int, Said], None]
"""Gives a directory its metadata: its path, its descriptor, what was said."""


class Tree:
    """The directory `root` (a descriptor) and all below; paths are bytes without a leading `/`, `b""` is the top."""

    def __init__(self, root: int, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        self._open: dict[bytes, tuple[int, bytes]] = {}
        self._said: dict[bytes, Said] = {}
        self._held = 0
        self._stale = False
        """Something was replaced: a path that was opened may lead elsewhere now."""
        self.implied: set[bytes] = {b""}

    def directory(self, path: bytes, *, make: bool = True) -> tuple[int, bytes]:
        """The directory at `path`, open until the next `settle`, and its path without links.

        Made, as implied, where it is missing. Raises Unsound, OSError (ENOENT with `make` false, ENOTDIR).
        """
        if not path:
            return self._root, b""
        found = self._open.get(path)
        if found is None:
            found = self._open[path] = self._walk(path, make)
        return found

    def settle(self) -> None:
        """Between two entries: let go of descriptors where there are many, or where paths may lead elsewhere now."""
        if self._stale or len(self._open) > _OPEN_DIRECTORIES:
            self.close()

    def close(self) -> None:
        """Let go of all descriptors."""
        for fd, _ in self._open.values():
            os.close(fd)
        self._open.clear()
        self._stale = False

    def clear(self, directory: int, name: bytes) -> None:
        """Remove what an earlier entry made under that name, whole."""
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
        self._stale = True

    def say(self, path: bytes, said: Said) -> None:
        """Remember what the layer says about the directory until everything in it is made."""
        self.hold(path)
        if said.xattrs:
            self._count(sum(len(name) + len(value) for name, value in said.xattrs.items()))
        self._said[path] = said
        self.implied.discard(path)

    def finish(self, dress: Dress, newest_ns: int) -> None:
        """Dress every directory, deepest first. Implied ones get the layer's newest time: equal layers, equal trees."""
        plain = Said(IMPLIED_MODE, 0, 0, newest_ns, None)
        self.close()
        for path in sorted(self._said.keys() | self.implied, reverse=True):
            try:
                fd, real = self.directory(path, make=False)
            except (FileNotFoundError, NotADirectoryError, Unsound):
                real = None
            if real == path:
                dress(path, fd, self._said.get(path, plain))
            else:
                self.implied.discard(path)  # a later entry took its place
            self.settle()

    def _walk(self, path: bytes, make: bool) -> tuple[int, bytes]:
        above, _, name = path.rpartition(b"/")
        pending, links = [name], 0
        fd, real = self.directory(above, make=make)
        fd = os.dup(fd)
        try:
            while pending:
                name = pending.pop()
                if name == b"..":
                    real = real.rpartition(b"/")[0]
                    fd = _swap(fd, self._reopen(real))
                    continue
                target = self._step(fd, name, real, make)
                if isinstance(target, int):
                    fd, real = _swap(fd, target), join(real, name)
                    continue
                links += 1
                if links > _MAX_LINKS:
                    raise Unsound("a loop of links", path)
                if target.startswith(b"/"):
                    fd, real = _swap(fd, os.dup(self._root)), b""
                pending += [part for part in reversed(target.split(b"/")) if part not in (b"", b".")]
        except BaseException:
            os.close(fd)
            raise
        return fd, real

    def _step(self, fd: int, name: bytes, real: bytes, make: bool) -> int | bytes:
        """One component: the directory's descriptor, or where the link under that name leads."""
        try:
            return os.open(name, OPEN_DIRECTORY, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                raise
            return self._imply(fd, name, real)
        except NotADirectoryError:  # open(2) says so of a link, too, when O_DIRECTORY meets O_NOFOLLOW
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                return os.readlink(name, dir_fd=fd)
            if not make or not is_whiteout(found):
                raise
            os.unlink(name, dir_fd=fd)
            made = self._imply(fd, name, real)
            os.setxattr(made, _OPAQUE_XATTR, b"y")
            return made

    def _imply(self, fd: int, name: bytes, real: bytes) -> int:
        os.mkdir(name, IMPLIED_MODE, dir_fd=fd)
        path = join(real, name)
        self.hold(path)
        self.implied.add(path)
        self._said.pop(path, None)
        return os.open(name, OPEN_DIRECTORY, dir_fd=fd)

    def _reopen(self, real: bytes) -> int:
        """A directory by its path without links."""
        fd = os.dup(self._root)
        for name in real.split(b"/") if real else ():
            fd = _swap(fd, os.open(name, OPEN_DIRECTORY, dir_fd=fd))
        return fd

    def hold(self, path: bytes) -> None:
        """Account for a path that is kept in memory until the end. Raises Unsound."""
        most = self._limits.directories
        if len(self._said) + len(self.implied) > most:
            raise Unsound(f"more than {most} directories", hint="raise the limit `directories`")
        self._count(len(path))

    def _count(self, size: int) -> None:
        self._held += size
        if self._held > _HELD_BYTES:
            raise Unsound(f"names and attributes of directories take more than {_HELD_BYTES} bytes")


def join(real: bytes, name: bytes) -> bytes:
    """A path below the top."""
    return real + b"/" + name if real else name


def is_whiteout(found: os.stat_result) -> bool:
    """Overlay's mark of a deletion: the character device 0/0."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def set_opaque(directory: int, name: bytes = b".") -> None:
    """Hide what the layers below have in the directory `name` of the open directory."""
    fd = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    try:
        os.setxattr(fd, _OPAQUE_XATTR, b"y")
    finally:
        os.close(fd)


def _swap(old: int, new: int) -> int:
    os.close(old)
    return new
