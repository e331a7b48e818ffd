"""One fetch of a blob at a time, over threads and processes, so that nobody downloads what another is bringing.

Called by `download`. A turn is a file lock (flock(2)), given back by the kernel when its holder dies. It saves traffic
and is not needed for correctness: whoever has waited in vain fetches the blob too.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from runtime.images.blobs import BlobStore, full_disk_is_retried, partial_name
from runtime.images.locks import is_same_file, lock

_POLL_SECONDS = 0.05


@asynccontextmanager
async def turn(store: BlobStore, digest: str, patience: float) -> AsyncIterator[None]:
    """Holds the turn for `digest`; or does not, after `patience` seconds in which its holder brought no byte."""
    path = store.path(digest).parent.parent / "turns" / partial_name(digest)
    with full_disk_is_retried(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    seen, deadline = -1, time.monotonic() + patience
    while True:
        with taken(path) as is_mine:
            if is_mine or time.monotonic() > deadline:
                yield
                return
        if (size := arrived(store, digest)) != seen:
            seen, deadline = size, time.monotonic() + patience
        await asyncio.sleep(_POLL_SECONDS)


@contextmanager
def taken(path: Path) -> Iterator[bool]:
    """Whether the lock file at `path` is ours. Ours is removed at the end."""
    with full_disk_is_retried(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        is_mine = lock(fd) and is_same_file(fd, path)
        yield is_mine
        if is_mine:
            path.unlink(missing_ok=True)
    finally:
        os.close(fd)


def arrived(store: BlobStore, digest: str) -> int:
    """Bytes of the blob's partial."""
    try:
        return next((path.stat().st_size for path in store.partials() if path.name == partial_name(digest)), 0)
    except FileNotFoundError:
        return 0
