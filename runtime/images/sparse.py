"""Sparse files in the four notations that GNU tar has had: which pieces of the file the archive holds.

Called by the reader of entries. A map must be in order, fit its file and its stored bytes, or it is refused.
Source: GNU tar manual, "Storing Sparse Files".
"""

from __future__ import annotations

from runtime.images.limits import Limits
from runtime.images.pax import Pax, decimal
from runtime.images.tarheader import BLOCK, number
from runtime.images.tarstream import Source
from runtime.images.unsound import Unsound

MAX_SIZE = 2**63 - 1

Piece = tuple[int, int]
"""Offset in the file, and length, in bytes."""


def pax_sparse(
    stream: Source, pax: Pax, path: bytes, stored: int, limits: Limits
) -> tuple[bytes, int, tuple[Piece, ...] | None]:
    """GNU's sparse formats 0.0, 0.1 and 1.0: the real name, the real size, the pieces that are stored."""
    records = pax.records
    version = (records.get("GNU.sparse.major"), records.get("GNU.sparse.minor"))
    real = records.get("GNU.sparse.realsize") or records.get("GNU.sparse.size")
    path = records.get("GNU.sparse.name", path)
    if version == (b"1", b"0"):
        numbers, used = _sparse_map(stream, stored, limits, path)
        stored -= used
    elif version not in ((None, None), (b"0", b"0"), (b"0", b"1")):
        raise Unsound("a sparse file of a format that this engine does not know", path)
    elif pax.pairs:
        numbers = pax.pairs
    elif "GNU.sparse.map" in records:
        numbers = [decimal(text, "GNU.sparse.map") for text in records["GNU.sparse.map"].split(b",")]
    else:
        return path, stored, None
    if real is None:
        raise Unsound("a sparse file without its size", path)
    size = decimal(real, "size")
    return path, size, _checked_map(numbers, size, stored, path)


def _sparse_map(stream: Source, stored: int, limits: Limits, path: bytes) -> tuple[list[int], int]:
    """Format 1.0: decimal lines before the data, padded to a block; the first line counts the pairs."""
    text, lines, wanted = b"", 0, 1
    while lines < wanted:
        if len(text) + BLOCK > min(stored, limits.extended_header):
            raise Unsound("a sparse map is cut off or too long", path)
        block = stream.take(BLOCK)
        if len(block) < BLOCK:
            raise Unsound("the archive is cut off inside a sparse map", path)
        text += block
        lines = text.count(b"\n")
        if lines and wanted == 1:
            wanted = 1 + 2 * decimal(text.partition(b"\n")[0], "sparse map")
    return [decimal(line, "sparse map") for line in text.split(b"\n")[1:wanted]], len(text)


def old_sparse(stream: Source, block: bytes, stored: int, limits: Limits, path: bytes) -> tuple[int, tuple[Piece, ...]]:
    """GNU's first format: four pairs in the header, 21 in each block that follows it."""
    size = number(block[483:495], "real size")
    pieces = [block[386 + 24 * index : 410 + 24 * index] for index in range(4)]
    more = block[482]
    while more:
        if len(pieces) * 24 > limits.extended_header:
            raise Unsound("a sparse map is too long", path)
        extension = stream.take(BLOCK)
        if len(extension) < BLOCK:
            raise Unsound("the archive is cut off inside a sparse map", path)
        pieces += [extension[24 * index : 24 * index + 24] for index in range(21)]
        more = extension[504]
    numbers: list[int] = []
    for piece in pieces:
        if piece[0] == 0:  # unused pairs are zeros, and only the last
            break
        numbers += (number(piece[:12], "sparse offset"), number(piece[12:], "sparse length"))
    return size, _checked_map(numbers, size, stored, path)


def _checked_map(numbers: list[int], size: int, stored: int, path: bytes) -> tuple[Piece, ...]:
    pairs = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    end = 0
    for offset, length in pairs:
        if offset < end or length < 0:
            raise Unsound("a sparse map is out of order", path)
        end = offset + length
    if len(numbers) % 2 or end > size or not 0 <= size <= MAX_SIZE or sum(length for _, length in pairs) != stored:
        raise Unsound("a sparse map does not fit its file", path)
    return pairs
