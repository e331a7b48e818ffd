"""Paths inside a tree we do not trust: openat2(2) with the root held fast.

`open_inside` resolves as if the directory were `/`: no symlink, `..` or magic link leads out, whoever changes the
tree meanwhile. `make_directory` and `make_file` create what is missing on the way, one component at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os

from runtime.kernel import libc

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

MAX_LINKS = 255
"""Components and symlinks on one way: more is a loop."""


class OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


_openat2 = libc.system_call(437, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(OpenHow), ctypes.c_size_t)


def openat2(directory: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), close-on-exec."""
    how = OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return _openat2(directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))


def open_inside(root: int, path: str, flags: int = os.O_PATH) -> int:
    """Open `path` as a process whose root is `root` would see it."""
    # EAGAIN: a rename raced with `..`; the man page says to try again
    for _ in range(128):
        with contextlib.suppress(BlockingIOError):
            return openat2(root, path or "/", flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    return openat2(root, path or "/", flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def make_directory(root: int, path: str, mode: int = 0o755) -> int:
    """Open the directory `path` inside `root`, creating what is missing, dangling symlinks' targets too. O_PATH."""
    return _make(root, path, os.O_PATH | os.O_DIRECTORY, mode, MAX_LINKS)


def make_file(root: int, path: str, mode: int = 0o644) -> int:
    """Open the file `path` inside `root`, creating it, and its directories, where missing. O_PATH."""
    return _make(root, path, os.O_PATH, mode, MAX_LINKS)


def _make(root: int, path: str, flags: int, mode: int, links: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        return open_inside(root, path, flags)
    if links == 0:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    parent, _, name = path.rstrip("/").rpartition("/")
    directory = _make(root, parent, os.O_PATH | os.O_DIRECTORY, 0o755, links - 1)
    try:
        _make_entry(directory, name, flags, mode)
        target = ""
    except FileExistsError:
        target = _link_target(directory, name)
    finally:
        os.close(directory)
    if not target:
        return open_inside(root, path, flags)
    return _make(root, target if target.startswith("/") else f"{parent}/{target}", flags, mode, links - 1)


def _make_entry(directory: int, name: str, flags: int, mode: int) -> None:
    if flags & os.O_DIRECTORY:
        os.mkdir(name, mode, dir_fd=directory)
    else:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode, dir_fd=directory))


def _link_target(directory: int, name: str) -> str:
    """Where a symlink that stands in the way leads to; nothing where it is no symlink (then somebody was quicker)."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOENT}:
            return ""
        raise
