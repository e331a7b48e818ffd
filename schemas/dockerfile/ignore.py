"""`.dockerignore`: which paths of a build context are left out, and which directories need not be entered.

The last pattern that matches a path, or a directory above it, decides: it is ignored, unless that begins with `!`.
Made for contexts of tens of thousands of files: a file costs one match against all patterns together, and what was
found for its directory is remembered. Called by whoever walks a context, and by the checks. Reads no file.

Source: Dockerfile reference, ".dockerignore file".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from posixpath import normpath

from schemas.dockerfile.faults import problem
from schemas.dockerfile.ignore_pattern import IgnorePattern, compile_source, read_pattern
from schemas.dockerfile.shell_words import is_space
from schemas.errors import Invalid, Place, Problem

IGNORE_FILE = ".dockerignore"
_NEVER = re.compile(r"(?!)")


class Ignore:
    """The patterns of one ignore file. Paths are relative to the context, with slashes."""

    __slots__ = ("_any", "_decided", "_matchers", "has_exceptions", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises ValueError for a pattern that is not whole."""
        cleaned = filter(None, (clean_pattern(pattern) for pattern in patterns))
        self.patterns: tuple[IgnorePattern, ...] = tuple(read_pattern(pattern) for pattern in cleaned)
        self.has_exceptions = any(pattern.keeps for pattern in self.patterns)
        self._matchers = [compile_source(pattern.source) for pattern in self.patterns]
        sources = "|".join(f"(?:{pattern.source})" for pattern in self.patterns)
        self._any = (re.compile(sources) if sources else _NEVER).fullmatch
        self._decided: dict[str, int] = {"": -1}

    def matches(self, path: str) -> bool:
        """Whether the path is left out of the context. The context itself never is."""
        return self._ignores(self._decide(_clean(path)))

    def prunes(self, directory: str) -> bool:
        """Whether the directory and all below it are left out, so that nobody need enter it."""
        path = _clean(directory)
        decided = self._decide_directory(path)
        if not self._ignores(decided):
            return False
        return not any(pattern.keeps and pattern.reaches_below(path) for pattern in self.patterns[decided + 1 :])

    def _ignores(self, decided: int) -> bool:
        return decided >= 0 and not self.patterns[decided].keeps

    def _decide(self, path: str) -> int:
        """The index of the last pattern that matches the path or a directory above it, or -1."""
        if not path:
            return -1
        above = self._decide_directory(path.rpartition("/")[0])
        if self._any(path) is None:
            return above
        for index in range(len(self._matchers) - 1, above, -1):
            if self._matchers[index](path) is not None:
                return index
        return above

    def _decide_directory(self, path: str) -> int:
        """The same, remembered: every file below asks again."""
        missing: list[str] = []
        while path not in self._decided:
            missing.append(path)
            path = path.rpartition("/")[0]
        for directory in reversed(missing):
            self._decided[directory] = self._decide(directory)
        return self._decided[missing[0] if missing else path]


def read_ignore(text: str, name: str) -> Ignore:
    """The patterns of an ignore file, known to its author as `name`. Raises Invalid with every problem found."""
    patterns: list[str] = []
    problems: list[Problem] = []
    lines = text.removeprefix("\ufeff").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            if not line.startswith("#") and (pattern := clean_pattern(line)):
                read_pattern(pattern)
                patterns.append(line)
        except ValueError as error:
            message, _, remedy = str(error).rpartition("; ")
            problems.append(problem(Place(name, number, 1), "", message, remedy, lines))
    if problems:
        raise Invalid(problems)
    return Ignore(patterns)


def ignore_files(dockerfile: str) -> tuple[str, str]:
    """Where the ignore file of a Dockerfile may be, the first that exists: beside it under its name, or in the context.

    `docker/web.Dockerfile` -> `docker/web.Dockerfile.dockerignore`, `.dockerignore`.
    """
    return f"{dockerfile}{IGNORE_FILE}", IGNORE_FILE


def clean_pattern(line: str) -> str:
    """A line as a pattern: without spaces around, `./`, `..`, double and outer slashes; empty if there is none."""
    pattern = _stripped(line)
    keeps = "!" if pattern.startswith("!") else ""
    bare = _stripped(pattern.removeprefix("!"))
    if not bare:
        return keeps
    return keeps + _normal(bare).removeprefix("/") if _normal(bare) != "/" else f"{keeps}/"


def _stripped(text: str) -> str:
    start, end = 0, len(text)
    while start < end and is_space(text[start]):
        start += 1
    while end > start and is_space(text[end - 1]):
        end -= 1
    return text[start:end]


def _normal(path: str) -> str:
    """Cleaned as Go does: two slashes at the start are one."""
    normal = normpath(path)
    return normal[1:] if normal.startswith("//") else normal


def _clean(path: str) -> str:
    """A path as patterns are compared with: the context itself is empty."""
    if path.endswith(("/", ".")) or "//" in path or "./" in path:
        path = _normal(path) if path else ""
    return "" if path == "." else path
