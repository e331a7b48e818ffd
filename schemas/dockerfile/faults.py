"""What is wrong with a Dockerfile, shown where it stands: the message, then the line, then a mark under the column.

Called by every reader of this package. A reader that knows only an offset raises `Fault`; whoever knows the file turns
it into a `Problem`.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import Place, Problem

WIDEST = 160
"""Characters of a source line shown in a message."""


class Fault(Exception):
    """Something is wrong at `offset` of a joined line. Never leaves this package: it becomes a Problem."""

    def __init__(self, message: str, remedy: str = "", offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.offset = offset


def problem(place: Place, instruction: str, message: str, remedy: str, lines: Sequence[str]) -> Problem:
    """A Problem whose text ends with the source line and a mark under the column. `lines` are the file's."""
    shown = excerpt(place, lines)
    if remedy:
        return Problem(place, instruction, "", message, remedy + shown)
    return Problem(place, instruction, "", message + shown)


def excerpt(place: Place, lines: Sequence[str]) -> str:
    """The source line, indented, and a mark below; nothing where the file has no such line."""
    if not 1 <= place.line <= len(lines):
        return ""
    line = lines[place.line - 1].rstrip().replace("\t", " ")
    start = max(0, place.column - WIDEST // 2) if len(line) > WIDEST else 0
    mark = " " * (place.column - 1 - start) + "^"
    return f"\n    {line[start : start + WIDEST]}\n    {mark}"
