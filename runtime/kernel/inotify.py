"""inotify(7): what changed below a few directories.

Thin: one function per call, and the reader of its records. Called by the DNS server and by the
loop. Does not follow subdirectories.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.kernel import libc

IN_MODIFY = 0x00000002
IN_ATTRIB = 0x00000004
IN_CLOSE_WRITE = 0x00000008
IN_MOVED_FROM = 0x00000040
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_DELETE = 0x00000200
IN_DELETE_SELF = 0x00000400
IN_MOVE_SELF = 0x00000800
IN_Q_OVERFLOW = 0x00004000
IN_IGNORED = 0x00008000
IN_ONLYDIR = 0x01000000
IN_ISDIR = 0x40000000

_RECORD = struct.Struct("iIII")
_BUFFER_BYTES = 65536
_inotify_init1 = libc.function("inotify_init1", ctypes.c_int)
_inotify_add_watch = libc.function("inotify_add_watch", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_inotify_rm_watch = libc.function("inotify_rm_watch", ctypes.c_int, ctypes.c_int)


@dataclass(frozen=True, slots=True)
class InotifyEvent:
    """One record: `watch` is what `inotify_add_watch` returned (-1 with IN_Q_OVERFLOW), `name` within it."""

    watch: int
    mask: int
    name: str


def inotify_init1() -> int:
    """A close-on-exec, non-blocking inotify descriptor. Raises OSError (EMFILE: fs.inotify.max_user_instances)."""
    return _inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)


def inotify_add_watch(fd: int, path: str | os.PathLike[str], mask: int) -> int:
    """Watch `path`; returns the watch. Raises OSError (ENOSPC: fs.inotify.max_user_watches)."""
    return _inotify_add_watch(fd, os.fsencode(path), mask)


def inotify_rm_watch(fd: int, watch: int) -> None:
    """Watch no more. Raises OSError (EINVAL: the kernel took it away already)."""
    _inotify_rm_watch(fd, watch)


def read_events(fd: int) -> Iterator[InotifyEvent]:
    """Everything queued at this moment; nothing when nothing is."""
    while True:
        try:
            data = os.read(fd, _BUFFER_BYTES)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _RECORD.unpack_from(data, offset)
            offset += _RECORD.size
            name = data[offset : offset + length].rstrip(b"\0")
            offset += length
            yield InotifyEvent(watch, mask, os.fsdecode(name))
