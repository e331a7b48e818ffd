"""One header block of a tar archive: its checksum, its numbers. Called by the readers of entries and sparse maps."""

from __future__ import annotations

import struct

from runtime.images.tarstream import Source
from runtime.images.unsound import Unsound

BLOCK = 512
HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
"""name, mode, uid, gid, size, mtime, checksum, kind, link, magic, user, group, major, minor, prefix."""
_ZEROS = bytes(BLOCK)


def padding(size: int) -> int:
    """Bytes from the end of a content to the next block."""
    return -size % BLOCK


def next_header(stream: Source) -> bytes | None:
    """The next header block, checked; None at the end of the archive."""
    block = stream.take(BLOCK)
    if not block:
        return None
    if len(block) < BLOCK:
        raise Unsound("the archive is cut off inside a header")
    if block == _ZEROS:
        second = stream.take(BLOCK)
        if second not in (b"", _ZEROS):
            raise Unsound("a single block of zeros stands before another header")
        return None
    _check_sum(block)
    return block


def _check_sum(block: bytes) -> None:
    stored = block[148:156].strip(b" \0")
    if not stored.isdigit():
        raise Unsound("a header has no checksum: this is not a tar archive, or it is damaged")
    unsigned = sum(block) - sum(block[148:156]) + 8 * 0x20
    if number(stored, "checksum") == unsigned:
        return
    signed = unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
    if number(stored, "checksum") != signed:
        raise Unsound("a header's checksum is wrong: this is not a tar archive, or it is damaged")


def number(field: bytes, name: str) -> int:
    """A header's number: octal digits, or base-256 (GNU) when the first bit is set."""
    if field and field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        return value - (1 << 8 * len(field) - 1) if field[0] & 0x40 else value
    text = field.partition(b"\0")[0].strip(b" ")
    try:
        if text.isdigit():
            return int(text, 8)
    except ValueError:
        pass
    if not text:
        return 0
    raise Unsound(f"a header's {name} is no number: {field[:32]!r}")
