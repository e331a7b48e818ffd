"""A plain layer as zstd:chunked: zstd that anybody reads, and of which some fetch only the files that they lack.

Called by `compress`. Each file's content is a frame of its own; headers are frames between them. Behind them, in frames
that readers of zstd pass over: a table of contents, what tar-split needs to put the same tar together again, and a
footer. The layer's annotations tell where they are. A layer that the table cannot describe (names that are not UTF-8 or
stand there twice, sparse files, times of access, much behind its end) is refused with `Unfit`, and pushed as zstd.

Source: containers/storage, pkg/chunked; vbatts/tar-split, tar/storage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import posixpath
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO

from backports import zstd

from runtime.images.crc64 import crc64
from runtime.images.limits import Limits
from runtime.images.tarheader import padding
from runtime.images.unsound import Unsound
from runtime.images.untar import Entry, read_entries

LEVEL = 3
MOST_ENTRIES = 500_000
"""The table is held in memory; readers of it take no more than 150 MiB."""
MOST_BEHIND = 1 << 20
"""Bytes behind the last entry: the end of an archive, filled up to what its writer calls a record."""
PREFIX = "io.github.containers.zstd-chunked"
"""Of annotations. Another, of containers/storage before 1.45, is left out: that one forgets device nodes."""
_SKIPPED = b"\x50\x2a\x4d\x18"
_MAGIC = b"GNUlInUx"
_KIND_CRFS = 1
_PIECE = 1 << 16
_KINDS = {b"0": "reg", b"1": "hardlink", b"2": "symlink", b"3": "char", b"4": "block", b"5": "dir", b"6": "fifo"}
_OTHER_TIMES = re.compile(rb"\d+ (?:[ac]time|GNU\.sparse\.)")
_SEGMENT, _FILE = 2, 1
_LIMITS = Limits()

Sink = Callable[[bytes], object]


class Unfit(Exception):
    """The layer cannot be described by the format's table."""


@dataclass
class Raw:
    """An archive's bytes, for the reader of entries."""

    file: BinaryIO

    def take(self, count: int) -> bytes:
        return self.file.read(count)

    def skip(self, count: int) -> int:
        return len(self.file.read(count))


@dataclass
class _Output:
    """Frames, one after another. `written`: bytes of them."""

    sink: Sink
    written: int = 0
    _open: zstd.ZstdCompressor | None = None

    def write(self, piece: bytes) -> None:
        """As part of the frame that is open; opens one."""
        if self._open is None:
            self._open = zstd.ZstdCompressor(level=LEVEL)
        self._put(self._open.compress(piece))

    def end(self) -> int:
        """End the frame that is open; where the next one begins."""
        if self._open is not None:
            self._put(self._open.flush(zstd.ZstdCompressor.FLUSH_FRAME))
            self._open = None
        return self.written

    def skipped(self, content: bytes) -> int:
        """A frame that readers pass over; where its content begins."""
        self._put(_SKIPPED + struct.pack("<I", len(content)))
        begins = self.written
        self._put(content)
        return begins

    def _put(self, content: bytes) -> None:
        self.sink(content)
        self.written += len(content)


@dataclass
class _Split:
    """tar-split's record of the archive: all its bytes but files' contents, a line of JSON for each piece."""

    packer: zstd.ZstdCompressor = field(default_factory=lambda: zstd.ZstdCompressor(level=LEVEL))
    content: bytearray = field(default_factory=bytearray)
    lines: int = 0
    length: int = 0

    def segment(self, piece: bytes) -> None:
        self._add({"type": _SEGMENT, "payload": base64.b64encode(piece).decode()})

    def file(self, name: str, size: int, checksum: int) -> None:
        said: dict[str, object] = {"type": _FILE, "name": name}
        payload = base64.b64encode(checksum.to_bytes(8, "big")).decode() if size else None
        self._add(said | ({"size": size} if size else {}) | {"payload": payload})

    def _add(self, fields: dict[str, object]) -> None:
        line = json.dumps(fields | {"position": self.lines}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self.lines += 1
        self.length += len(line)
        self.content += self.packer.compress(line)

    def end(self) -> bytes:
        self.content += self.packer.flush(zstd.ZstdCompressor.FLUSH_FRAME)
        return bytes(self.content)


def write_chunked(layer: BinaryIO, sink: Sink, report: Callable[[int], None]) -> dict[str, str]:
    """The annotations of the layer, whose plain tar is read from its beginning. Raises Unfit, OSError."""
    output, split, table, names = _Output(sink), _Split(), list[dict[str, object]](), set[str]()
    begun = 0
    for entry in _entries(layer):
        content = layer.tell()
        size = entry.size if entry.kind == b"0" else 0
        head = os.pread(layer.fileno(), content - begun, begun)
        described = _described(entry, head)
        _require_new(names, str(described["name"]))
        output.write(head)
        split.segment(head)
        checksum = _write_content(layer, size, output, described)
        split.file(str(described["name"]), size, checksum)
        table.append(described)
        if len(table) > MOST_ENTRIES:
            raise Unfit(f"more than {MOST_ENTRIES} entries")
        begun = content + size
        layer.seek(padding(size), os.SEEK_CUR)
        report(begun)
    layer.seek(begun)
    rest = layer.read(MOST_BEHIND + 1)
    if len(rest) > MOST_BEHIND:
        raise Unfit(f"more than {MOST_BEHIND} bytes behind the archive's end")
    output.write(rest)
    split.segment(rest)
    output.end()
    return _finish(output, split, table)


def _entries(layer: BinaryIO) -> Iterator[Entry]:
    try:
        yield from read_entries(Raw(layer), _LIMITS)
    except Unsound as error:
        raise Unfit(error.message) from error


def _write_content(layer: BinaryIO, size: int, output: _Output, described: dict[str, object]) -> int:
    """A frame of the file's content, which `described` tells of from now on; the content's CRC-64."""
    if not size:
        return 0
    described["offset"] = output.end()
    digest, checksum, left = hashlib.sha256(), 0, size
    while left:
        piece = layer.read(min(_PIECE, left))
        if not piece:
            raise Unfit("the archive is cut off inside a file")
        output.write(piece)
        digest.update(piece)
        checksum = crc64(piece, checksum)
        left -= len(piece)
    described |= {"digest": f"sha256:{digest.hexdigest()}", "endOffset": output.end()}
    return checksum


def _require_new(names: set[str], name: str) -> None:
    plain = posixpath.normpath(name)
    if plain in names:
        raise Unfit(f"{name} stands in the archive twice")
    names.add(plain)


def _described(entry: Entry, head: bytes) -> dict[str, object]:
    """As the table says it; zero values are left out. Raises Unfit."""
    if entry.data is not None or _OTHER_TIMES.search(head):
        raise Unfit("a sparse file, or one with times of access or change")
    try:
        name, link = entry.path.decode(), entry.link.decode()
        xattrs = {key.decode(): base64.b64encode(value).decode() for key, value in (entry.xattrs or {}).items()}
    except UnicodeDecodeError as error:
        raise Unfit("a name is not UTF-8") from error
    fields: dict[str, object] = {
        "linkName": link,
        "mode": entry.mode,
        "size": entry.size if entry.kind == b"0" else 0,
        "uid": entry.uid,
        "gid": entry.gid,
        "modtime": _time(entry.mtime_ns),
        "devMajor": entry.major,
        "devMinor": entry.minor,
        "xattrs": xattrs,
    }
    return {"type": _KINDS[entry.kind], "name": name} | {key: value for key, value in fields.items() if value}


def _time(ns: int) -> str:
    """RFC 3339."""
    seconds, rest = divmod(ns, 1_000_000_000)
    try:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError) as error:
        raise Unfit("a time of another age") from error
    return f"{text.rjust(19, '0')}{f'.{rest:09d}'.rstrip('0') if rest else ''}Z"


def _finish(output: _Output, split: _Split, table: list[dict[str, object]]) -> dict[str, str]:
    """Write table, record and footer; the annotations that tell of them."""
    record = split.end()
    toc = {"version": 1, "entries": table, "tarSplitDigest": f"sha256:{hashlib.sha256(record).hexdigest()}"}
    plain = json.dumps(toc, ensure_ascii=False, separators=(",", ":")).encode()
    packed = zstd.compress(plain, LEVEL)
    at = output.skipped(packed)
    at_record = output.skipped(record)
    numbers = (at, len(packed), len(plain), _KIND_CRFS, at_record, len(record), split.length)
    output.skipped(struct.pack("<7Q", *numbers) + _MAGIC)
    return {
        f"{PREFIX}.manifest-checksum": f"sha256:{hashlib.sha256(packed).hexdigest()}",
        f"{PREFIX}.manifest-position": f"{at}:{len(packed)}:{len(plain)}:{_KIND_CRFS}",
        f"{PREFIX}.tarsplit-position": f"{at_record}:{len(record)}:{split.length}",
    }
