"""The text of a file before anything is made of it: UTF-8, free of control characters, of a bearable size.

Called by the readers of YAML and of environment files. Turns bytes into text, or says where and why it cannot.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

MAX_BYTES = 4 * 1024 * 1024
"""A larger text is refused unread: about ten thousand manifests."""

# What YAML 1.2 lets a stream hold, without U+0085, U+2028 and U+2029: YAML 1.1, so libyaml, ends lines at them.
FORBIDDEN = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Outside the basic plane JSON writes two escapes where YAML knows one; an escaped backslash before them does not count.
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}


@dataclass(frozen=True, slots=True)
class Text:
    """The text of one file, and the name by which its author knows it (`-` for standard input)."""

    name: str
    text: str | bytes


class Unreadable(Exception):
    """The text cannot be read on from here. Line and column are counted from 1."""

    def __init__(self, message: str, remedy: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.line = line
        self.column = column


def decode(text: str | bytes) -> str:
    """The text without its byte order mark, every line ended by a line feed.

    Raises Unreadable for other encodings, control characters and sheer size.
    """
    if len(text) > MAX_BYTES:
        raise Unreadable(f"is larger than {MAX_BYTES // 2**20} MiB", "split it into several files", 1, 1)
    if isinstance(text, bytes):
        text = _decode_bytes(text)
    text = _end_lines(text.removeprefix("\ufeff"))
    bad = FORBIDDEN.search(text)
    if bad:
        line, column = position(text, bad.start())
        named = f"U+{ord(bad.group()):04X}"
        remedy = "remove it, or write it as an escape in double quotes"
        raise Unreadable(f"holds the character {named}, which may not stand here", remedy, line, column)
    return _join_pairs(text) if text.lstrip()[:1] in ("{", "[") else text


def _decode_bytes(text: bytes) -> str:
    for mark, encoding in _BOMS.items():
        if text.startswith(mark):
            raise Unreadable(f"is {encoding}", "save the file as UTF-8", 1, 1)
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        line, column = position(text[: error.start].decode(), error.start)
        raise Unreadable("is not UTF-8", "save the file as UTF-8", line, column) from None


def _end_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _join_pairs(text: str) -> str:
    """JSON's surrogate pairs as YAML writes them, if the text is JSON."""
    if _PAIR.search(text) is None:
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _PAIR.sub(lambda found: f"{found[1]}\\U{_code_point(found[2], found[3]):08x}", text)


def _code_point(high: str, low: str) -> int:
    return 0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00


def position(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 1, of the character at `index`."""
    before = _end_lines(text[:index])
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
