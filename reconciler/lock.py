"""One engine, one writer at a time: a lock on a file, held as long as the process that took it lives (flock(2))."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from schemas.errors import Refused, RetryLater


@contextmanager
def engine_lock(path: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the engine's lock, waiting at most `wait_seconds`. Raises RetryLater naming who holds it."""
    ensure_root(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, path, time.monotonic() + wait_seconds)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "command": " ".join(sys.argv)[:200]}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def ensure_root(root: Path) -> None:
    """Make the engine's root, if it is not there. Raises Refused where there can be none, OSError for the rest."""
    try:
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST):
            raise
        why = "it is no directory" if error.errno == errno.EEXIST else error.strerror or str(error)
        hint = "name a directory with --root, or TRIMTAB_ROOT, on ext4, xfs or btrfs"
        raise Refused(why, step="open the engine", path=str(root), errno=error.errno, hint=hint) from error


def _take(descriptor: int, path: Path, deadline: float) -> None:
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() >= deadline:
            raise RetryLater(
                f"another trimtab holds the engine: {_holder(path)}",
                step="lock the engine",
                path=str(path),
                hint="wait for it to end, or give --lock-timeout",
            )
        time.sleep(0.02)


def is_held_here(path: Path) -> bool:
    """Whether a thread of this process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(path).startswith(f"process {os.getpid()} ")
    finally:
        os.close(descriptor)
    return False


def is_held(path: Path) -> bool:
    """Whether any process holds the lock, this one too. What cannot be opened is held by nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"process {holder['pid']} ({holder['command']})"
    except (OSError, ValueError, KeyError):
        return "its process is not known"
