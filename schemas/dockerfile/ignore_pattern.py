"""One pattern of a `.dockerignore`: what it matches, and whether anything below a directory can match it.

`*` and `?` stop at a slash, `**` does not; `[a-z]` and `[^a-z]` are classes, and match no slash; a backslash takes a
character as it is. A pattern that begins with `**` and has no other wildcard matches by its end alone, so `**file` also
matches `myfile`: so does Docker. Called by `ignore`.

Source: Dockerfile reference, ".dockerignore file"; Go, package path/filepath, Match.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

_WILD = re.compile(r"[*?\[\]\\]")
_MANY = re.compile(r"(?:\*\*/)+")


@dataclass(frozen=True, slots=True)
class IgnorePattern:
    """A pattern, cleaned and without `!`; `keeps` if it had one. `source` is the regular expression it stands for."""

    text: str
    keeps: bool
    source: str

    def reaches_below(self, directory: str) -> bool:
        """Whether it can match something in `directory` or deeper."""
        wanted, given = self.text.split("/"), directory.split("/")
        for pattern, name in zip(wanted, given, strict=False):
            if "**" in pattern or "[" in pattern:
                return True
            if not compile_source(to_source(pattern))(name):
                return False
        return len(wanted) > len(given)


def read_pattern(text: str) -> IgnorePattern:
    """Read one pattern, already cleaned. Raises ValueError."""
    keeps = text.startswith("!")
    bare = text.removeprefix("!")
    if not bare:
        raise ValueError("! stands alone; write !PATTERN")
    return IgnorePattern(bare, keeps, to_source(bare))


@lru_cache(maxsize=4096)
def compile_source(source: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(source).fullmatch


def to_source(pattern: str) -> str:
    """The regular expression of a pattern. Raises ValueError where the pattern is not whole."""
    if not _WILD.search(pattern):
        return re.escape(pattern)
    if pattern.startswith("**") and not _WILD.search(pattern[2:]):
        return _by_its_end(pattern[2:])
    return _translated(_MANY.sub("**/", pattern))


def _by_its_end(end: str) -> str:
    """`**/name` and `**name`: whatever ends so."""
    if not end or end == "/":
        return r"(?s:.*)"
    if end.startswith("/"):
        return rf"(?s:(?:.*/)?){re.escape(end[1:])}"
    return rf"(?s:.*){re.escape(end)}"


def _translated(pattern: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            at += 3 if pattern.startswith("/", at + 2) else 2
            parts.append(r"(?:.*/)?" if at < len(pattern) else r".*")
            continue
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "[":
            part, at = _read_class(pattern, at + 1)
            parts.append(part)
            continue
        elif char == "\\":
            at += 1
            if at == len(pattern):
                raise ValueError(f"{pattern!r} ends in a backslash; write \\\\ for one")
            parts.append(re.escape(pattern[at]))
        else:
            parts.append(re.escape(char))
        at += 1
    return rf"(?s:{_without_backtracking(parts)})"


def _without_backtracking(parts: list[str]) -> str:
    """The parts joined; a `*` gives back nothing once what stands between it and the next `*` was found.

    The first place where that fits is as good as any later one, because the next `*` can reach whatever they can.
    """
    text = ""
    at = 0
    while at < len(parts):
        end = at + 1
        while end < len(parts) and parts[end] not in ("[^/]*", "(?:.*/)?", ".*") and parts[end] != "/":
            end += 1
        followed = end < len(parts) and parts[end] == "[^/]*"
        if parts[at] == "[^/]*" and followed:
            text += f"(?>[^/]*?{''.join(parts[at + 1 : end])})"
        else:
            text += "".join(parts[at:end])
        at = end
    return text


def _read_class(pattern: str, at: int) -> tuple[str, int]:
    """`[a-z]` from after its bracket: its regular expression, and the index after it."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not (ranges and pattern.startswith("]", at)):
        low, at = _read_member(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _read_member(pattern, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")
    members = "".join(ranges)
    if not members:
        return (r"[^/]" if negated else r"(?!)"), at + 1
    return (rf"(?![{members}])[^/]" if negated else rf"(?!/)[{members}]"), at + 1


def _read_member(pattern: str, at: int) -> tuple[str, int]:
    if pattern.startswith("\\", at):
        at += 1
    elif pattern[at : at + 1] in ("-", "]"):
        raise ValueError(f"{pattern!r} has a class that begins or goes on with {pattern[at]}; write \\{pattern[at]}")
    if at >= len(pattern):
        raise ValueError(f"{pattern!r} has a [ that is not closed; write \\[ for one")
    return pattern[at], at + 1
