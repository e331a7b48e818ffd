"""Columns of text, aligned with blanks, safe for a terminal whatever a container or an image says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

GAP = "  "
NOTHING = "-"


def printable(text: str, *, indented: bool = False) -> str:
    """On one line, control characters replaced: a name or a message must not move the cursor. `indented`: blanks before
    it mean something."""
    shown = "".join(letter if letter.isprintable() else "�" for letter in " ".join(text.split("\n")))
    return shown.rstrip() if indented else shown.strip()


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A line for the headers and one for each row; an empty cell is a dash."""
    cells = [list(headers), *([printable(cell) or NOTHING for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    for row in cells:
        yield GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def shortened(text: str, most: int) -> str:
    """At most `most` characters, the end cut off with an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"
