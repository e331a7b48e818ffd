"""Locks on files and directories that the kernel gives back when their holder dies: flock(2). Decides nothing."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def lock(fd: int, *, wait: bool = False, shared: bool = False) -> bool:
    """Take the lock of the open file; False when somebody has it and `wait` is not asked for."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(fd, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_same_file(fd: int, path: Path) -> bool:
    """Whether `path` still names the open file: its last holder may have renamed it between open and lock."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
