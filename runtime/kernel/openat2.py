"""Paths inside a tree we do not trust: openat2(2) with the root held fast.

`open_inside` resolves as if the directory were `/`: no symlink, `..` or magic link leads out, whoever changes the
tree meanwhile. `make_directory` and `make_file` create what is missing on the way, one component at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

from runtime.kernel import libc

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


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
    """Open the directory `path` inside `root`, creating what is missing. The descriptor is O_PATH."""
    try:
        return open_inside(root, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    parent, _, name = path.rstrip("/").rpartition("/")
    directory = make_directory(root, parent, mode)
    try:
        # EEXIST with a missing target is a dangling symlink: looking again tells
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=directory)
    finally:
        os.close(directory)
    return open_inside(root, path, os.O_PATH | os.O_DIRECTORY)


def make_file(root: int, path: str, mode: int = 0o644) -> int:
    """Open the file `path` inside `root`, creating it, and its directories, where missing. O_PATH."""
    try:
        return open_inside(root, path)
    except FileNotFoundError:
        pass
    parent, _, name = path.rstrip("/").rpartition("/")
    directory = make_directory(root, parent)
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode, dir_fd=directory))
    finally:
        os.close(directory)
    return open_inside(root, path)
