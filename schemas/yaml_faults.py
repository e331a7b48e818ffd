"""Why a text cannot be read as YAML, said so that its author can mend it.

Turns bytes into text (UTF-8 only) and the parser's own words into a message, a place and a remedy. Called by
`yaml_text` alone.
"""

from __future__ import annotations

import re

import yaml

from schemas.errors import Place, Problem

MAX_BYTES = 16 * 1024 * 1024
"""A larger text is refused unread: about forty thousand manifests."""

# What YAML 1.2 (and libyaml) lets a stream hold; everything else is a control character or half of a pair.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}

_REMEDIES = (
    ("mapping values are not allowed", "indent it as its neighbours, or quote the value if its text holds `: `"),
    ("did not find expected key", "check the indentation, and quote values that begin with a special character"),
    ("did not find expected '-'", "indent every item of the list alike"),
    ("did not find expected ',' or ']'", "close the list with `]`"),
    ("did not find expected ',' or '}'", "close the mapping with `}`"),
    ("could not find expected ':'", "write `key: value`, with a space after the colon"),
    ("unexpected end of stream", "close the quote"),
    ("unexpected document indicator", "close the quote"),
    ("unknown escape character", "in double quotes write `\\\\` for a backslash, or use single quotes"),
    ("document start", "begin the next document with a line `---`"),
    ("block sequence entries are not allowed", "put the list on lines of its own"),
)


class Unreadable(Exception):
    """The text cannot be read on from here. Line and column are counted from 1."""

    def __init__(self, message: str, remedy: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.line = line
        self.column = column


def decode(text: str | bytes) -> str:
    """The text without its byte order mark. Raises Unreadable for encoding, control characters, size."""
    if len(text) > MAX_BYTES:
        raise Unreadable(f"is larger than {MAX_BYTES // 2**20} MiB", "split it into several files", 1, 1)
    if isinstance(text, bytes):
        text = _decode_bytes(text)
    text = text.removeprefix("\ufeff")
    bad = _FORBIDDEN.search(text)
    if bad:
        line, column = position(text, bad.start())
        named = f"U+{ord(bad.group()):04X}"
        raise Unreadable(f"holds the character {named}, which YAML forbids", "remove it", line, column)
    return text


def _decode_bytes(text: bytes) -> str:
    for mark, encoding in _BOMS.items():
        if text.startswith(mark):
            raise Unreadable(f"is {encoding}", "save the file as UTF-8", 1, 1)
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        line, column = position(text[: error.start].decode(), error.start)
        raise Unreadable("is not UTF-8", "save the file as UTF-8", line, column) from None


def position(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 1, of the character at `index`."""
    before = text[:index]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def explain_error(file: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    """libyaml's error as a problem: its place, its words, and what usually mends it."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    words = error.problem or "is not YAML"
    if "cannot start any token" in words:
        return _bad_character(file, text, line, column)
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in words), "")
    if error.context and error.context_mark and error.context_mark.line != line:
        words += f", {error.context} that begins on line {error.context_mark.line + 1}"
    return Problem(Place(file, line + 1, column + 1), "", "", words, remedy)


def _bad_character(file: str, text: str, line: int, column: int) -> Problem:
    lines = text.split("\n")
    found = lines[line][column : column + 1] if line < len(lines) else ""
    place = Place(file, line + 1, column + 1)
    if found == "\t":
        return Problem(place, "", "", "is indented with a tab", "indent with spaces")
    return Problem(place, "", "", f"a plain value cannot begin with {found!r}", "put the value in quotes")
