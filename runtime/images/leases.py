"""Keeps blobs and layers of work in flight from the collector: a lease is a locked file that lists digests.

Taken by `ensure_image` and whoever else makes images; read by `collect`. A lease is told of a digest *before* the store
is asked whether it is there; the collector sweeps under the store's lock: so a digest is either leased in time or found
missing and brought anew. The kernel gives a dead maker's lock back, so no lease outlives its maker.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from runtime.images.blobs import full_disk_is_retried
from runtime.images.locks import lock
from runtime.layout import Layout

_ENDING = ".lease"


class Lease:
    """One maker's lease, for as long as the context lasts. Threads may share it."""

    def __init__(self, layout: Layout) -> None:
        self._directory = _leases(layout)
        self._layout = layout
        self._told: set[str] = set()
        self._one_at_a_time = threading.Lock()

    def add(self, digest: str) -> None:
        """Keep the blob or the layer of that digest, whether it is there already or not."""
        with self._one_at_a_time:
            if digest in self._told:
                return
            with full_disk_is_retried(self._path), store_lock(self._layout, shared=True):
                os.write(self._fd, f"{digest}\n".encode())
            self._told.add(digest)

    def __enter__(self) -> Lease:
        with full_disk_is_retried(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
            self._path = self._directory / f"{os.getpid()}-{secrets.token_hex(8)}{_ENDING}"
            with store_lock(self._layout, shared=True):  # the collector removes what nobody has locked
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
                lock(self._fd)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def leased(layout: Layout) -> frozenset[str]:
    """Digests of every living lease; dead ones are removed. Called under the store's lock."""
    found: set[str] = set()
    for path in _leases(layout).glob(f"*{_ENDING}"):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # its maker has ended: what it made is named by a record, which is read after this
        try:
            if lock(fd):
                path.unlink(missing_ok=True)
            else:
                found.update(os.pread(fd, os.fstat(fd).st_size, 0).decode().split())
        finally:
            os.close(fd)
    return frozenset(found)


@contextmanager
def store_lock(layout: Layout, *, shared: bool) -> Iterator[None]:
    """Held for moments by makers (shared), and by the collector while it sweeps."""
    directory = _leases(layout)
    directory.mkdir(parents=True, exist_ok=True)
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        lock(fd, wait=True, shared=shared)
        yield
    finally:
        os.close(fd)


def _leases(layout: Layout) -> Path:
    return layout.images / "leases"
