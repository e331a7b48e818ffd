"""Reads environment files: `--env-file` of the command line and `env_file` of a container, as Compose reads them.

    # a comment                     NAME=text            to the end of the line, or to ` #`
    export NAME=text                NAME='text'          as it stands but for \\', over several lines if need be
    NAME: text                      NAME="text"          with \\n \\r \\t \\" \\$ \\\\, over several lines if need be
    NAME                            the value of NAME in the environment; left out when it is unset there

Variables are replaced in unquoted and double-quoted text: from the lines above, else from the environment. One that is
set nowhere and has no default is refused, as in a manifest (see `interpolate`). A name given twice has its last value.
Which of file and environment wins is the caller's to say. Reads no file and no environment of its own. Files of
`format: raw` have no quotes, comments behind values, or variables.

Source: Compose Specification, services, `env_file`, section "Env_file format".
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Mapping

from schemas.errors import Invalid, Place, Problem
from schemas.interpolate import interpolate
from schemas.source_text import Unreadable, decode, position

MOST = 500
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_NAME = re.compile(r"(?:export[ \t]+)?([A-Za-z_][\w.\[\]-]*)[ \t]*(?:([=:])[ \t]*|(?=[\n#]|\Z))", re.ASCII)
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_LINE = re.compile(r"[^\n]*")
_COMMENT = re.compile(r"(?:\A|\s)#.*")
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


_RAW = re.compile(r"([^\s=#][^\s=]*)(?:=([^\n]*))?(?=\n|\Z)")


def read_env_file(name: str, text: str | bytes, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the text of the file `name` sets, in order. Raises Invalid with everything wrong in it."""
    return _collect(name, text, _read, environment)


def read_raw_env_file(name: str, text: str | bytes, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a file of `format: raw`: all behind `=` is the value, quotes, spaces and `$` included.

    As `docker run --env-file`. Raises Invalid with everything wrong in it.
    """
    return _collect(name, text, _read_raw, environment)


def _collect(
    name: str,
    text: str | bytes,
    read: Callable[[_Lines, dict[str, str], Mapping[str, str]], None],
    environment: Mapping[str, str],
) -> dict[str, str]:
    problems: list[Problem] = []
    variables: dict[str, str] = {}
    try:
        read(_Lines(name, decode(text), problems), variables, environment)
    except Unreadable as error:
        problems.append(Problem(Place(name, error.line, error.column), "", "", error.message, error.remedy))
    if problems:
        raise Invalid(problems)
    return variables


class _Lines:
    """The text, where its reading has come to, and what was found wrong so far."""

    def __init__(self, name: str, text: str, problems: list[Problem]) -> None:
        self.name = name
        self.text = text
        self.at = 0
        self.problems = problems

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Match here and go on behind it."""
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def fault(self, message: str, remedy: str) -> None:
        place = Place(self.name, *position(self.text, self.at))
        self.problems.append(Problem(place, "", "", message, remedy))
        if len(self.problems) == MOST:
            raise Unreadable(f"has {MOST} problems, and is not read further", "mend those first", 1, 1)


def _read(lines: _Lines, variables: dict[str, str], environment: Mapping[str, str]) -> None:
    known = ChainMap(variables, dict(environment))
    while lines.take(_BLANK) and lines.at < len(lines.text):
        found = lines.take(_NAME)
        if found is None:
            lines.fault("is no NAME=value", "begin with a name of letters, digits and _, then write `=`")
            lines.take(_LINE)
        elif found[2] is not None:
            variables[found[1]] = _value(lines, known)
        elif found[1] in environment:
            variables[found[1]] = environment[found[1]]


def _read_raw(lines: _Lines, variables: dict[str, str], environment: Mapping[str, str]) -> None:
    while lines.take(_BLANK) and lines.at < len(lines.text):
        found = lines.take(_RAW)
        if found is None:
            lines.fault("is no NAME=value", "write a name without spaces, then `=`")
            lines.take(_LINE)
        elif found[2] is not None or found[1] in environment:
            variables[found[1]] = environment[found[1]] if found[2] is None else found[2]


def _value(lines: _Lines, known: Mapping[str, str]) -> str:
    start = lines.at
    opening = lines.text[start : start + 1]
    if opening not in ("'", '"'):
        plain = lines.take(_LINE)
        return _expand(lines, start, _COMMENT.sub("", plain[0] if plain else "").rstrip(), known)
    quoted = lines.take(_SINGLE if opening == "'" else _DOUBLE)
    if quoted is None:
        raise Unreadable("the quote is not closed", f"close it with {opening}", *position(lines.text, start))
    if lines.take(_REST) is None:
        lines.fault("text follows the closing quote", "put it inside the quotes, or on a line of its own")
        lines.take(_LINE)
    if opening == "'":
        return quoted[1].replace("\\'", "'")
    return _expand(lines, start, _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[0]), quoted[1]), known)


def _expand(lines: _Lines, start: int, text: str, known: Mapping[str, str]) -> str:
    result = interpolate(text, known)
    for message, remedy in result.faults:
        place = Place(lines.name, *position(lines.text, start))
        lines.problems.append(Problem(place, "", "", message, f"{remedy}, or put the text in single quotes"))
    return result.text
