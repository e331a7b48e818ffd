"""Lines of a Dockerfile as they are meant: continuations joined, comments and empty lines inside them left out.

Every joined line remembers where each of its parts stood, so that any offset in it has a line and a column. Called by
`statement`. Knows no instruction.

Source: Dockerfile reference, "Format", "Escape".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.dockerfile.shell_words import is_space
from schemas.errors import Place

_LAST_ESCAPE = {escape: re.compile(rf"(?<!{re.escape(escape)}){re.escape(escape)}[ \t]*\Z") for escape in "\\`"}


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a joined line: where it begins in it, and its line and column in the file, counted from 1."""

    offset: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A joined line. `last` is its last line in the file; `empty` the first empty line inside it, or 0."""

    text: str
    parts: tuple[Part, ...]
    last: int
    empty: int = 0

    def place(self, file: str, offset: int = 0) -> Place:
        """Where the character at `offset` stands in the file."""
        at = max(bisect_right(self.parts, offset, key=lambda part: part.offset) - 1, 0)
        part = self.parts[at]
        return Place(file, part.line, part.column + offset - part.offset)

    def beginning(self, text: str, offset: int) -> SourceLine:
        """The line from `offset` on, whose text is `text`: the instruction inside an ONBUILD."""
        place = self.place("", offset)
        later = [Part(part.offset - offset, part.line, part.column) for part in self.parts if part.offset > offset]
        return SourceLine(text, (Part(0, place.line, place.column), *later), self.last, self.empty)


def is_comment(line: str) -> bool:
    return strip_start(line).startswith("#")


def strip_start(line: str) -> str:
    at = 0
    while at < len(line) and is_space(line[at]):
        at += 1
    return line[at:]


def join_line(lines: Sequence[str], first: int, escape: str) -> SourceLine | None:
    """The joined line that begins at `lines[first]`; None if that one is empty or a comment."""
    start = lines[first].rstrip("\r")
    text = "" if is_comment(start) else strip_start(start)
    text, continues = _without_escape(text, escape)
    if not continues and not text:
        return None
    texts, parts = [text], [Part(0, first + 1, len(start) - len(strip_start(start)) + 1)]
    at, empty, length = first, 0, len(text)
    while continues and at + 1 < len(lines) and not _is_end(lines, at + 1):
        at += 1
        line = lines[at].rstrip("\r")
        if is_comment(line):
            continue
        if not strip_start(line):
            empty = empty or at + 1
            continue
        line, continues = _without_escape(line, escape)
        texts.append(line)
        parts.append(Part(length, at + 1, 1))
        length += len(line)
    return SourceLine("".join(texts), tuple(parts), at + 1, empty)


def _is_end(lines: Sequence[str], at: int) -> bool:
    """Whether this is the nothing after the file's last line feed."""
    return at == len(lines) - 1 and not lines[at]


def _without_escape(line: str, escape: str) -> tuple[str, bool]:
    """The line without the escape character that continues it, and whether there was one."""
    found = _LAST_ESCAPE[escape].search(line)
    return (line[: found.start()], True) if found else (line, False)
