"""An image from a root file system of this machine: a directory, or a tar of one.

Called by `ensure_image`. The directory becomes one reproducible layer; its cheap fingerprint (one lstat(2) per file)
tells whether it must be read again. A tar is kept as it is. Does not unpack.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from runtime.images.blobs import BlobStore, BlobWriter
from runtime.images.tarwriter import write_tree
from runtime.layout import Layout
from schemas.errors import Refused

_PIECE = 1 << 20


def source_fingerprint(path: Path) -> str:
    """Changes whenever the file or the directory does. Raises Refused when there is neither."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    hasher = hashlib.sha256()
    if stat.S_ISDIR(found.st_mode):
        try:
            for line in _walk(os.fsencode(path), b"", found.st_dev):
                hasher.update(line)
        except OSError as error:
            raise _unreadable(path, error) from error
    hasher.update(_line(b"", found))
    return hasher.hexdigest()


def add_rootfs(layout: Layout, store: BlobStore, path: Path, report: Callable[[int], None]) -> str:
    """Keep the layer of the directory or tar at `path`; returns its blob's digest. Raises Refused, RetryLater."""
    if path.is_dir():
        _require_outside(layout, path)
        with store.write() as writer:
            sink = Sink(writer, report)
            try:
                write_tree(path, sink.write)
            except OSError as error:
                raise _unreadable(path, error) from error
            return sink.commit()
    try:
        with path.open("rb") as archive, store.write() as writer:
            return copy_blob(archive, writer, report)
    except OSError as error:
        raise _unreadable(path, error) from error


def copy_blob(source: BinaryIO, writer: BlobWriter, report: Callable[[int], None]) -> str:
    """The rest of `source` as a blob."""
    while piece := source.read(_PIECE):
        writer.write(piece)
        report(writer.offset)
    return writer.commit()


class Sink:
    """Gathers a tar writer's small pieces into large writes."""

    def __init__(self, writer: BlobWriter, report: Callable[[int], None]) -> None:
        self._writer = writer
        self._report = report
        self._buffer = bytearray()

    def write(self, piece: bytes) -> None:
        self._buffer += piece
        if len(self._buffer) >= _PIECE:
            self._flush()

    def commit(self) -> str:
        self._flush()
        return self._writer.commit()

    def _flush(self) -> None:
        self._writer.write(self._buffer)
        self._report(self._writer.offset)
        self._buffer = bytearray()


def _walk(directory: bytes, prefix: bytes, device: int) -> Iterator[bytes]:
    with os.scandir(directory) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = prefix + b"/" + entry.name
        seen = entry.stat(follow_symlinks=False)
        yield _line(path, seen)
        if stat.S_ISDIR(seen.st_mode) and seen.st_dev == device:
            yield from _walk(directory + b"/" + entry.name, path, device)


def _line(path: bytes, found: os.stat_result) -> bytes:
    """The change time cannot be set back by any tool, so it covers owner, xattrs and content alike."""
    return b"%b\0%d %d %d %d %d\n" % (
        path,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_mode,
        found.st_ino,
    )


def _require_outside(layout: Layout, path: Path) -> None:
    if layout.root.resolve().is_relative_to(path.resolve()):
        raise Refused(
            "the root file system contains the engine's own directory, which grows while it is read",
            path=str(path),
            step="read rootfs",
            hint=f"copy it without {layout.root}, or name a tar",
        )


def _unreadable(path: Path, error: OSError) -> Refused:
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    return Refused(
        error.strerror or str(error),
        step="read rootfs",
        path=where if where.startswith("/") else str(path / where),
        errno=error.errno,
        hint="`rootfs` names a directory or a tar on this machine",
    )
