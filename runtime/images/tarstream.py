"""The bytes of one layer, decompressed and hashed in a second thread, given out in pieces to the tar reader.

Called inside the unpacking child. Memory is bounded: a few pieces of one mebibyte wait between the two threads. Knows
gzip (also several members, as pigz and estargz write), zstd (also several frames) and plain; which one is told by the
first bytes, never by a media type.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from backports import zstd
from isal import igzip_lib

from runtime.images.limits import Limits
from runtime.images.unsound import Unsound

PIECE = 1 << 20
_WAITING = 3
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x04\x22\x4d\x18": "lz4", b"PK\x03\x04": "zip"}

_FAILURES: tuple[type[Exception], ...] = (igzip_lib.IsalError, zstd.ZstdError, EOFError)  # type: ignore[assignment]


def compression_of(first: bytes) -> str:
    """`gzip`, `zstd`, another compression's name, or "" by a blob's first 512 bytes."""
    if first[257:262] == b"ustar":  # a file in it may be named as others begin
        return ""
    if first.startswith(_GZIP):
        return "gzip"
    if first.startswith(_ZSTD) or (first[1:4] == _SKIPPABLE and first[0] >> 4 == 5):
        return "zstd"
    return next((name for magic, name in _OTHERS.items() if first.startswith(magic)), "")


class _Engine(Protocol):
    """What both decompressors offer."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Source(Protocol):
    """What headers are read from."""

    def take(self, count: int) -> bytes: ...

    def skip(self, count: int) -> int: ...


class TarStream:
    """Reads `fd` from its current offset to its end. `digest` holds the diffID's hash once `finish` has returned."""

    def __init__(self, fd: int, limits: Limits, progress: Callable[[int], None] = lambda _: None) -> None:
        self._fd = fd
        self._limits = limits
        self._progress = progress
        self._hash = hashlib.sha256()
        self._pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(_WAITING)
        self._view = memoryview(b"")
        self._position = 0
        self._ended = False
        self._stopped = threading.Event()
        self.total = 0
        """Uncompressed bytes so far."""
        self._thread = threading.Thread(target=self._produce, name="decompress", daemon=True)
        self._thread.start()

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes, or fewer only at the end of the stream."""
        start = self._position
        end = start + count
        if end <= len(self._view):
            self._position = end
            return bytes(self._view[start:end])
        return b"".join(self.pieces(count))

    def whole(self, count: int) -> memoryview | None:
        """The next `count` bytes without copying them, where they lie in one piece; else None, and nothing is taken."""
        start = self._position
        end = start + count
        if end > len(self._view):
            return None
        self._position = end
        return self._view[start:end]

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes without copying them; fewer only at the end of the stream."""
        while count > 0:
            if self._position == len(self._view) and not self._next():
                return
            piece = self._view[self._position : self._position + count]
            self._position += len(piece)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> int:
        """Pass over `count` bytes; returns how many there were."""
        return sum(len(piece) for piece in self.pieces(count))

    def finish(self) -> str:
        """Read what is left, so that the whole is hashed; returns the diffID."""
        while self._next():
            pass
        return f"sha256:{self._hash.hexdigest()}"

    def close(self) -> None:
        """End the second thread; what it still had is dropped."""
        self._stopped.set()
        while not self._ended:
            self._ended = not isinstance(self._pieces.get(), bytes)
        self._thread.join()

    def _next(self) -> bool:
        """Bring the next piece; False at the end. Raises what the second thread met."""
        if self._ended:
            return False
        piece = self._pieces.get()
        if isinstance(piece, bytes):
            self._view = memoryview(piece)
            self._position = 0
            return True
        self._ended = True
        self._view = memoryview(b"")
        self._position = 0
        if piece is not None:
            raise piece
        return False

    def _produce(self) -> None:
        try:
            for piece in self._decompressed():
                self._hash.update(piece)
                self.total += len(piece)
                offset = os.lseek(self._fd, 0, os.SEEK_CUR)
                self._check_size(offset)
                self._progress(offset)
                self._pieces.put(piece)
                if self._stopped.is_set():
                    break
            self._pieces.put(None)
        except BaseException as error:
            self._pieces.put(error)

    def _check_size(self, offset: int) -> None:
        limits = self._limits
        if self.total > limits.bytes:
            raise Unsound(f"the layer is larger than {limits.bytes} bytes unpacked", hint="raise the limit `bytes`")
        if self.total > limits.ratio_from and self.total > limits.ratio * offset:
            raise Unsound(
                f"the layer unpacks to more than {limits.ratio} times its size: a decompression bomb?",
                hint="raise the limit `ratio` if you trust its maker",
            )

    def _decompressed(self) -> Iterator[bytes]:
        first = self._read()
        match compression_of(first):
            case "":
                return self._plain(first)
            case "gzip":
                return self._inflated(first, _gunzip, "gzip")
            case "zstd":
                return self._inflated(first, zstd.ZstdDecompressor, "zstd")
            case other:
                raise Unsound(f"the layer is compressed with {other}", hint="use gzip, zstd or no compression")

    def _plain(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            yield piece
            piece = self._read()

    def _inflated(self, data: bytes, new: Callable[[], _Engine], name: str) -> Iterator[bytes]:
        """Members or frames one after another; zeros after the last are padding."""
        while data:
            yield from self._member(new(), data, name)
            data = self._left
            if not data.strip(b"\0"):
                data = self._read()
                if not data.strip(b"\0"):
                    return
            elif len(data) < PIECE:
                data += self._read()

    def _member(self, engine: _Engine, data: bytes, name: str) -> Iterator[bytes]:
        try:
            while True:
                piece = engine.decompress(data, PIECE)
                if piece:
                    yield piece
                if engine.eof:
                    self._left = engine.unused_data
                    return
                data = self._read() if engine.needs_input else b""
                if engine.needs_input and not data:
                    raise Unsound(f"the layer's {name} stream is cut off")
        except _FAILURES as error:
            raise Unsound(f"the layer's {name} stream is damaged: {error}") from error

    def _read(self) -> bytes:
        return os.read(self._fd, PIECE)


def _gunzip() -> igzip_lib.IgzipDecompressor:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
