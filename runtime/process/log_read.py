"""One log file as chunks: the formats of `local` and of `json-file` behind one shape."""

from __future__ import annotations

import json
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from time import strptime
from typing import BinaryIO

from runtime.process.log_format import HEADER, JSON_FILE, TRAILER

STREAM_NUMBERS = {"stdout": 1, "stderr": 2}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of one stream that were read at one moment, in nanoseconds since the epoch."""

    stream: int
    time: int
    data: bytes


def file_chunks(file: BinaryIO, name: str, offset: int) -> Iterator[tuple[Chunk, int]]:
    """The whole chunks of a file from `offset` on, each with the offset behind it."""
    file.seek(offset)
    return _json_chunks(file, offset) if name == JSON_FILE else _local_chunks(file, offset)


def _local_chunks(file: BinaryIO, offset: int) -> Iterator[tuple[Chunk, int]]:
    while len(header := file.read(HEADER.size)) == HEADER.size:
        length, stream, time = HEADER.unpack(header)
        body = file.read(length + TRAILER.size)
        # not all there yet: the monitor is in the middle of it
        if len(body) < length + TRAILER.size or TRAILER.unpack(body[length:])[0] != length:
            return
        offset += HEADER.size + len(body)
        yield Chunk(stream, time, body[:length]), offset


def _json_chunks(file: BinaryIO, offset: int) -> Iterator[tuple[Chunk, int]]:
    for line in file:
        if not line.endswith(b"\n"):
            return
        offset += len(line)
        try:
            entry = json.loads(line)
            chunk = Chunk(STREAM_NUMBERS[entry["stream"]], _nanoseconds(entry["time"]), entry["log"].encode())
        except (ValueError, KeyError, TypeError):
            continue
        yield chunk, offset


def _nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time in UTC, as the json-file driver writes it."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return _seconds(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9])


@lru_cache(maxsize=16)
def _seconds(text: str) -> int:
    return timegm(strptime(text, "%Y-%m-%dT%H:%M:%S"))
