"""syncfs(2): make everything written to one file system durable. Called by rooms that publish many files at once."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from runtime.kernel.libc import function

_syncfs = function("syncfs", ctypes.c_int)


def syncfs(path: Path) -> None:
    """Flush the file system that holds the directory `path`. Raises OSError, also for earlier write errors."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _syncfs(fd)
    finally:
        os.close(fd)
