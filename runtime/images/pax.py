"""pax extended headers: records that say what a header block cannot. POSIX.1-2017 `pax`, "pax Extended Header".

Called by the reader of entries. Strict: what two readers could understand differently is refused.
"""

from __future__ import annotations

import re

from runtime.images.unsound import Unsound

_NOT_FOR_ALL = ("path", "linkpath", "size", "GNU.sparse.")
_NAMES = ("path", "linkpath", "GNU.sparse.name")
_XATTR = "SCHILY.xattr."
_TIME = re.compile(rb"(-?)(\d{1,15})(?:\.(\d{1,40}))?", re.ASCII)


class Pax:
    """Extended header records by key, and the pairs of a sparse map in their order (format 0.0 repeats keys)."""

    __slots__ = ("pairs", "records")

    def __init__(self, records: dict[str, bytes] | None = None) -> None:
        self.records = dict(records or {})
        self.pairs: list[int] = []


def read_pax(content: bytes, common: Pax, for_all: bool = False) -> Pax:
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
        if (len(pax.pairs) % 2 == 0) is not (name == "GNU.sparse.offset"):
            raise Unsound("a sparse map is out of order")
        pax.pairs.append(decimal(value, name))
    elif not value and not name.startswith(_XATTR):
        pax.records.pop(name, None)
    elif b"\0" in key or (b"\0" in value and name in _NAMES):
        raise Unsound(f"a pax {name!r} holds a NUL")
    else:
        pax.records[name] = value


def xattrs_in(records: dict[str, bytes]) -> dict[bytes, bytes] | None:
    """The extended attributes of a pax header (SCHILY.xattr); None for none."""
    found = {
        name[len(_XATTR) :].encode("utf-8", "surrogateescape"): value
        for name, value in records.items()
        if name.startswith(_XATTR)
    }
    return found or None


def decimal(value: bytes, name: str) -> int:
    """A number in a pax header. Raises Unsound."""
    if not value.isdigit() or len(value) > 19:
        raise Unsound(f"a pax {name!r} is no number: {value[:32]!r}")
    return int(value)


def time_in(value: bytes) -> int:
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
