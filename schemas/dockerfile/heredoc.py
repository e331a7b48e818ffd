"""Heredocs: `RUN <<EOF`, `COPY <<-"a" <<b /dest/`: found in a line, then read from the lines below it.

Called by `statement` for RUN, COPY and ADD.

Source: Dockerfile reference, "Here-Documents"; POSIX, Shell Command Language, 2.7.4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from schemas.dockerfile.faults import Fault
from schemas.dockerfile.shell_words import Keep, Unexpandable, expand

_MARK = re.compile(r"(\d*)<<(-?)\s*([^<]*)")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)
_AS_WRITTEN = Keep(quotes=True, escapes=True, unset=True)


class Endless(Fault):
    """The heredoc runs to the end of the file: nothing below it can be told to be an instruction."""


@dataclass(frozen=True, slots=True)
class Heredoc:
    """One heredoc. `expands`: its name is not quoted, so variables in it count; `strips_tabs`: written `<<-`."""

    name: str
    content: str
    expands: bool
    strips_tabs: bool
    descriptor: int = 0

    @property
    def text(self) -> str:
        """The content as it is meant: without leading tabs if so asked."""
        return _LEADING_TABS.sub("", self.content) if self.strips_tabs else self.content


def heredocs_of(line: str) -> list[Heredoc]:
    """The heredocs a line announces, still empty. A line whose quotes do not close announces none."""
    if "<<" not in line:
        return []
    try:
        words = expand(line, {}, keep=_AS_WRITTEN).words
    except Unexpandable:
        return []
    return [found for word in words if (found := read_mark(word))]


def read_mark(word: str) -> Heredoc | None:
    """The heredoc that `<<NAME` announces; None for any other word."""
    match = _MARK.fullmatch(word)
    if match is None or not match[3]:
        return None
    try:
        bare = expand(match[3], {}, keep=Keep(unset=True)).words
        quoted = expand(match[3], {}, keep=Keep(unset=True, quotes=True)).words
    except Unexpandable:
        return None
    if len(bare) != 1 or len(quoted) != 1:
        return None
    return Heredoc(bare[0], "", _quotes(bare[0]) == _quotes(quoted[0]), match[2] == "-", int(match[1][:9] or 0))


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')


def fill(heredoc: Heredoc, lines: Sequence[str], first: int) -> tuple[Heredoc, int]:
    """The heredoc with its content, which begins at `lines[first]`; and the index after its end. Raises Endless."""
    for at in range(first, len(lines)):
        line = lines[at].rstrip("\r")
        if (line.lstrip("\t") if heredoc.strips_tabs else line) == heredoc.name:
            content = "".join(f"{each}\n" for each in lines[first:at])
            return replace(heredoc, content=content), at + 1
    raise Endless(f"the heredoc {heredoc.name} does not end", f"write {heredoc.name} on a line of its own")
