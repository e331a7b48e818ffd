"""Reads a tar archive entry by entry: ustar, pax, GNU and star dialects, sparse files in all their four notations.

Called by the extractor inside the unpacking child. Decides what the archive says, strictly: what two readers could
understand differently is refused. Names stay bytes. Writes nothing and does not judge where a path leads.

Sources: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format",
"Storing Sparse Files".
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from runtime.images.limits import Limits
from runtime.images.tarstream import TarStream
from runtime.images.unsound import Unsound

BLOCK = 512
REGULAR, HARD_LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_ZEROS = bytes(BLOCK)
_PLAIN = frozenset((b"0", b"\0", b"7"))
_KNOWN = frozenset((HARD_LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO))
_NOT_FOR_ALL = ("path", "linkpath", "size", "GNU.sparse.")
_XATTR = "SCHILY.xattr."
_MAX_ID = 2**32 - 2
_MAX_SIZE = 2**63 - 1
_TIME = re.compile(rb"(-?)(\d{1,15})(?:\.(\d{1,40}))?", re.ASCII)

Hole = tuple[int, int]
"""A piece of a sparse file that has data: offset and length in bytes."""


class Entry(NamedTuple):
    """One member of the archive (a NamedTuple: thousands are made each second).

    `size` is the file's length; of a sparse file, `data` says which pieces of it follow in the archive.
    """

    path: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: bytes
    major: int
    minor: int
    xattrs: dict[bytes, bytes] | None
    data: tuple[Hole, ...] | None


class Pax:
    """Extended header records by key, and the pairs of a sparse map in their order (format 0.0 repeats keys)."""

    __slots__ = ("holes", "records")

    def __init__(self, records: dict[str, bytes] | None = None) -> None:
        self.records = dict(records or {})
        self.holes: list[int] = []


def read_entries(stream: TarStream, limits: Limits) -> Iterator[Entry]:
    """Every entry in order. The caller consumes an entry's `stored_size` bytes before it asks for the next.

    Raises Unsound: a header that is damaged, cut off, contradicts itself or exceeds the limits.
    """
    common = Pax()
    pax, long_name, long_link = common, b"", b""
    while (block := next_header(stream)) is not None:
        fields = _HEADER.unpack(block)
        kind = fields[7]
        if kind in b"xXgLK":
            content = _extension(stream, fields, limits)
            if kind == b"g":
                common = pax = _read_pax(content, common, for_all=True)
            elif kind == b"L":
                long_name = content.partition(b"\0")[0]
            elif kind == b"K":
                long_link = content.partition(b"\0")[0]
            else:
                pax = _read_pax(content, common)
            continue
        if kind == b"V":
            continue
        yield _entry(stream, block, fields, pax, (long_name, long_link), limits)
        pax, long_name, long_link = common, b"", b""
    if pax is not common or long_name or long_link:
        raise Unsound("the archive ends after an extended header")


def stored_size(entry: Entry) -> int:
    """Bytes of the entry's content in the archive, without the padding to the next block."""
    if entry.kind != REGULAR:
        return 0
    return entry.size if entry.data is None else sum(length for _, length in entry.data)


def padding(size: int) -> int:
    return -size % BLOCK


def next_header(stream: TarStream) -> bytes | None:
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


def _extension(stream: TarStream, fields: tuple[bytes, ...], limits: Limits) -> bytes:
    size = number(fields[4], "size")
    if not 0 <= size <= limits.extended_header:
        raise Unsound(f"an extended header of {size} bytes; at most {limits.extended_header} are read")
    content = stream.take(size)
    if len(content) < size or stream.skip(padding(size)) < padding(size):
        raise Unsound("the archive is cut off inside an extended header")
    return content


def _read_pax(content: bytes, common: Pax, for_all: bool = False) -> Pax:
    """Records `<length> <key>=<value>\\n`; the length counts itself. An empty value takes a common one back."""
    pax = Pax(common.records)
    start = 0
    while start < len(content):
        space = content.find(b" ", start, start + 20)
        if space < 0 or not content[start:space].isdigit():
            if not content[start:].strip(b"\0"):
                break
            raise Unsound("a pax record has no length")
        end = start + int(content[start:space])
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if end > len(content) or end <= space or content[end - 1 : end] != b"\n" or not equals or not key:
            raise Unsound("a pax record is malformed")
        _take_record(pax, key, value, for_all)
        start = end
    return pax


def _take_record(pax: Pax, key: bytes, value: bytes, for_all: bool) -> None:
    name = key.decode("utf-8", "surrogateescape")
    if for_all and name.startswith(_NOT_FOR_ALL):
        raise Unsound(f"a global pax header sets {name!r} for every file")
    if name in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
        if (len(pax.holes) % 2 == 0) is not (name == "GNU.sparse.offset"):
            raise Unsound("a sparse map is out of order")
        pax.holes.append(_decimal(value, name))
    elif not value and not name.startswith(_XATTR):
        pax.records.pop(name, None)
    elif b"\0" in key or (b"\0" in value and name in ("path", "linkpath", "GNU.sparse.name")):
        raise Unsound(f"a pax {name!r} holds a NUL")
    else:
        pax.records[name] = value


def _entry(
    stream: TarStream,
    block: bytes,
    fields: tuple[bytes, ...],
    pax: Pax,
    long: tuple[bytes, bytes],
    limits: Limits,
) -> Entry:
    path = long[0] or _name(block, fields)
    link = long[1] or fields[8].partition(b"\0")[0]
    kind, size = fields[7], number(fields[4], "size")
    mtime_ns = number(fields[5], "mtime") * 1_000_000_000
    uid, gid = number(fields[2], "uid"), number(fields[3], "gid")
    mode = number(fields[1], "mode") & 0o7777
    major = minor = 0
    xattrs: dict[bytes, bytes] | None = None
    data: tuple[Hole, ...] | None = None
    records = pax.records
    if records or pax.holes:
        path, link = records.get("path", path), records.get("linkpath", link)
        if "size" in records:
            size = _decimal(records["size"], "size")
        if "uid" in records:
            uid = _decimal(records["uid"], "uid")
        if "gid" in records:
            gid = _decimal(records["gid"], "gid")
        if "mtime" in records:
            mtime_ns = _time(records["mtime"])
        xattrs = _xattrs(records)
    if kind in _PLAIN:
        kind = DIRECTORY if kind == b"\0" and path.endswith(b"/") else REGULAR
    if not (0 <= uid <= _MAX_ID and 0 <= gid <= _MAX_ID and 0 <= size <= _MAX_SIZE and abs(mtime_ns) < 2**92):
        raise Unsound("an owner, size or time is out of range", path)
    if kind == REGULAR and records:
        path, size, data = _pax_sparse(stream, pax, path, size, limits)
    elif kind == b"S":
        kind, (size, data) = REGULAR, _old_sparse(stream, block, size, limits, path)
    elif kind in (CHARACTER, DEVICE):
        major, minor = number(fields[12], "major"), number(fields[13], "minor")
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise Unsound("a device number is out of range", path)
    elif kind not in _KNOWN and kind != REGULAR:
        raise Unsound(f"an entry of type {kind!r}, which this engine does not know", path)
    return Entry(path, kind, mode, uid, gid, size, mtime_ns, link, major, minor, xattrs, data)


def _name(block: bytes, fields: tuple[bytes, ...]) -> bytes:
    name = fields[0].partition(b"\0")[0]
    if block[257:263] != b"ustar\0":  # GNU puts times where ustar has the prefix
        return name
    prefix = fields[14][:131] if block[508:512] == b"tar\0" else fields[14]
    prefix = prefix.partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _xattrs(records: dict[str, bytes]) -> dict[bytes, bytes] | None:
    found = {
        name[len(_XATTR) :].encode("utf-8", "surrogateescape"): value
        for name, value in records.items()
        if name.startswith(_XATTR)
    }
    return found or None


def _decimal(value: bytes, name: str) -> int:
    if not value.isdigit() or len(value) > 19:
        raise Unsound(f"a pax {name!r} is no number: {value[:32]!r}")
    return int(value)


def _time(value: bytes) -> int:
    """Decimal seconds as nanoseconds, rounded down as the kernel does."""
    match = _TIME.fullmatch(value)
    if match is None:
        raise Unsound(f"a pax time is no number: {value[:32]!r}")
    sign, seconds, fraction = match.groups()
    digits = fraction or b""
    nanoseconds = int(seconds) * 1_000_000_000 + int(digits[:9].ljust(9, b"0") or 0)
    if not sign:
        return nanoseconds
    return -nanoseconds - (1 if digits[9:].strip(b"0") else 0)


def _pax_sparse(
    stream: TarStream, pax: Pax, path: bytes, stored: int, limits: Limits
) -> tuple[bytes, int, tuple[Hole, ...] | None]:
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
    elif pax.holes:
        numbers = pax.holes
    elif "GNU.sparse.map" in records:
        numbers = [_decimal(text, "GNU.sparse.map") for text in records["GNU.sparse.map"].split(b",")]
    else:
        return path, stored, None
    if real is None:
        raise Unsound("a sparse file without its size", path)
    size = _decimal(real, "size")
    return path, size, _checked_map(numbers, size, stored, path)


def _sparse_map(stream: TarStream, stored: int, limits: Limits, path: bytes) -> tuple[list[int], int]:
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
            wanted = 1 + 2 * _decimal(text.partition(b"\n")[0], "sparse map")
    return [_decimal(line, "sparse map") for line in text.split(b"\n")[1:wanted]], len(text)


def _old_sparse(
    stream: TarStream, block: bytes, stored: int, limits: Limits, path: bytes
) -> tuple[int, tuple[Hole, ...]]:
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


def _checked_map(numbers: list[int], size: int, stored: int, path: bytes) -> tuple[Hole, ...]:
    pairs = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    end = 0
    for offset, length in pairs:
        if offset < end or length < 0:
            raise Unsound("a sparse map is out of order", path)
        end = offset + length
    if len(numbers) % 2 or end > size or not 0 <= size <= _MAX_SIZE or sum(length for _, length in pairs) != stored:
        raise Unsound("a sparse map does not fit its file", path)
    return pairs
