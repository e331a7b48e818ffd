"""One daemon on one root: a lock on a file, held by the kernel for as long as the process lives (flock(2))."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import Refused

ANOTHER_ROOT = ", or give another --root and --run"


@contextmanager
def only_daemon(path: Path, step: str = "start the daemon", else_do: str = ANOTHER_ROOT) -> Iterator[None]:
    """Raises Refused naming the process that is there already; `step`: what the caller is about to do, `else_do`: what
    else it could do than end the daemon."""
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise Refused(
                f"a daemon works on this root already: process {pid}",
                step=step,
                path=str(path.parent),
                hint=f"end it first (SIGTERM leaves containers running){else_do}",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
