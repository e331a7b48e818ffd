"""Reads a tar archive entry by entry: ustar, pax, GNU and star dialects, sparse files in all their four notations.

Called by the extractor inside the unpacking child. Decides what the archive says, strictly: what two readers could
understand differently is refused. Names stay bytes. Writes nothing and does not judge where a path leads.

Sources: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format",
"Storing Sparse Files".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from runtime.images.limits import Limits
from runtime.images.pax import Pax, decimal, read_pax, time_in, xattrs_in
from runtime.images.sparse import MAX_SIZE, Piece, old_sparse, pax_sparse
from runtime.images.tarheader import HEADER, next_header, number, padding
from runtime.images.tarstream import Source
from runtime.images.unsound import Unsound

REGULAR, HARD_LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

_OLD_SPARSE = b"S"
_PLAIN = frozenset((REGULAR, b"\0", b"7"))
_KNOWN = frozenset((REGULAR, HARD_LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO))
_MAX_ID = 2**32 - 2
"""The number above it means "leave as it is" to chown(2)."""
_MAX_TIME_NS = 2**92


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
    data: tuple[Piece, ...] | None


def read_entries(stream: Source, limits: Limits) -> Iterator[Entry]:
    """Every entry in order. The caller consumes an entry's `stored_size` bytes before it asks for the next.

    Raises Unsound: a header that is damaged, cut off, contradicts itself or exceeds the limits.
    """
    common = Pax()
    pax, long_name, long_link = common, b"", b""
    while (block := next_header(stream)) is not None:
        fields = HEADER.unpack(block)
        kind = fields[7]
        if kind in b"xXgLK":
            content = _extension(stream, fields, limits)
            if kind == b"g":
                common = pax = read_pax(content, common, for_all=True)
            elif kind == b"L":
                long_name = content.partition(b"\0")[0]
            elif kind == b"K":
                long_link = content.partition(b"\0")[0]
            else:
                pax = read_pax(content, common)
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


def _extension(stream: Source, fields: tuple[bytes, ...], limits: Limits) -> bytes:
    size = number(fields[4], "size")
    if not 0 <= size <= limits.extended_header:
        raise Unsound(f"an extended header of {size} bytes; at most {limits.extended_header} are read")
    content = stream.take(size)
    if len(content) < size or stream.skip(padding(size)) < padding(size):
        raise Unsound("the archive is cut off inside an extended header")
    return content


def _entry(
    stream: Source,
    block: bytes,
    fields: tuple[bytes, ...],
    pax: Pax,
    long: tuple[bytes, bytes],
    limits: Limits,
) -> Entry:
    entry = _plain_entry(block, fields, long)
    if pax.records or pax.pairs:
        entry = _with_pax(entry, pax)
    if entry.kind in _PLAIN:
        kind = DIRECTORY if entry.kind == b"\0" and entry.path.endswith(b"/") else REGULAR
        if kind != entry.kind:
            entry = entry._replace(kind=kind)
    _check_ranges(entry)
    if entry.kind == REGULAR and (pax.records or pax.pairs):
        path, size, data = pax_sparse(stream, pax, entry.path, entry.size, limits)
        return entry._replace(path=path, size=size, data=data)
    if entry.kind == _OLD_SPARSE:
        size, data = old_sparse(stream, block, entry.size, limits, entry.path)
        return entry._replace(kind=REGULAR, size=size, data=data)
    if entry.kind in (CHARACTER, DEVICE):
        return _with_device(entry, number(fields[12], "device number"), number(fields[13], "device number"))
    if entry.kind not in _KNOWN:
        raise Unsound(f"an entry of type {entry.kind!r}, which this engine does not know", entry.path)
    return entry


def _plain_entry(block: bytes, fields: tuple[bytes, ...], long: tuple[bytes, bytes]) -> Entry:
    """What the header block says, and GNU's long names before it."""
    return Entry(
        path=long[0] or _name(block, fields),
        kind=fields[7],
        mode=number(fields[1], "mode") & 0o7777,
        uid=number(fields[2], "uid"),
        gid=number(fields[3], "gid"),
        size=number(fields[4], "size"),
        mtime_ns=number(fields[5], "mtime") * 1_000_000_000,
        link=long[1] or fields[8].partition(b"\0")[0],
        major=0,
        minor=0,
        xattrs=None,
        data=None,
    )


def _with_pax(entry: Entry, pax: Pax) -> Entry:
    records = pax.records
    return entry._replace(
        path=records.get("path", entry.path),
        link=records.get("linkpath", entry.link),
        uid=decimal(records["uid"], "uid") if "uid" in records else entry.uid,
        gid=decimal(records["gid"], "gid") if "gid" in records else entry.gid,
        size=decimal(records["size"], "size") if "size" in records else entry.size,
        mtime_ns=time_in(records["mtime"]) if "mtime" in records else entry.mtime_ns,
        xattrs=xattrs_in(records),
    )


def _with_device(entry: Entry, major: int, minor: int) -> Entry:
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):  # what the kernel's dev_t holds
        raise Unsound("a device number is out of range", entry.path)
    return entry._replace(major=major, minor=minor)


def _check_ranges(entry: Entry) -> None:
    owners = 0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID
    if not (owners and 0 <= entry.size <= MAX_SIZE and -_MAX_TIME_NS < entry.mtime_ns < _MAX_TIME_NS):
        raise Unsound("an owner, size or time is out of range", entry.path)


def _name(block: bytes, fields: tuple[bytes, ...]) -> bytes:
    name = fields[0].partition(b"\0")[0]
    if block[257:263] != b"ustar\0":  # GNU puts times where ustar has the prefix
        return name
    prefix = fields[14][:131] if block[508:512] == b"tar\0" else fields[14]
    prefix = prefix.partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name
