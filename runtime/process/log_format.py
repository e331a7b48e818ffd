"""How logs lie on disk: file names, rotation order, and the records of the driver `local`.

Shared by the writer (`log_write.py`) and the reader (`logs.py`). `FILE` is the youngest file, `FILE.1` the one before.

A record of `local` is what one read of the container's pipe gave, whole lines or not, with one time for all of it:

    u32 n | u8 stream (1 stdout, 2 stderr) | i64 nanoseconds since the epoch | n bytes | u32 n

little endian. The length stands at both ends, so that a reader can walk backwards and a torn end shows. The driver
`json-file` is Docker's: one object per line with `log`, `stream`, `time`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

LOCAL_FILE = "local.log"
JSON_FILE = "json.log"
LOCK_FILE = "lock"
"""Held (flock(2)) by the monitor while it may still write: how a follower knows that nothing more comes."""

STREAMS = {1: "stdout", 2: "stderr"}
LINE_BYTES = 16 * 1024
"""A longer line is handed out in pieces of this size, as Docker does."""

HEADER = struct.Struct("<IBq")
TRAILER = struct.Struct("<I")
OVERHEAD = HEADER.size + TRAILER.size


def rotated(directory: str, name: str) -> list[str]:
    """The existing files of a log, oldest first."""
    numbers = []
    with os.scandir(directory) as entries:
        for entry in entries:
            suffix = entry.name.removeprefix(f"{name}.")
            if suffix != entry.name and suffix.isdigit():
                numbers.append(int(suffix))
    files = [f"{directory}/{name}.{number}" for number in sorted(numbers, reverse=True)]
    live = f"{directory}/{name}"
    return [*files, live] if os.path.exists(live) else files


def rotate(directory: str, name: str, keep: int) -> None:
    """Push every file one number further; at most `keep` files remain, the live one to come included."""
    for number in range(keep - 1, 0, -1):
        source = f"{directory}/{name}.{number - 1}" if number > 1 else f"{directory}/{name}"
        if os.path.exists(source):
            os.rename(source, f"{directory}/{name}.{number}")
    if keep <= 1 and os.path.exists(f"{directory}/{name}"):
        os.unlink(f"{directory}/{name}")


def forward(data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """The whole records in `data`: stream, time, bytes, and the offset behind the record."""
    position = 0
    while position + OVERHEAD <= len(data):
        length, stream, time = HEADER.unpack_from(data, position)
        end = position + OVERHEAD + length
        if end > len(data) or TRAILER.unpack_from(data, end - TRAILER.size)[0] != length:
            return
        yield stream, time, data[position + HEADER.size : end - TRAILER.size], end
        position = end


def whole_size(data: bytes) -> int:
    """How many bytes of `data` are whole records: what follows was torn by a writer's death."""
    end = 0
    for _, _, _, end in forward(data):  # noqa: B007
        pass
    return end


def ends_whole(descriptor: int, size: int) -> bool:
    """Whether the last record of a file of `size` bytes is whole."""
    if size == 0:
        return True
    if size < OVERHEAD:
        return False
    length = TRAILER.unpack(os.pread(descriptor, TRAILER.size, size - TRAILER.size))[0]
    start = size - OVERHEAD - length
    return start >= 0 and bool(HEADER.unpack(os.pread(descriptor, HEADER.size, start))[0] == length)
