"""From text to statements: an instruction's word, its flags, its words, its heredocs, and where they stand.

The lower half of the parser: it knows how the rest of each instruction's line falls into words and nothing of what they
mean. Called by `parse`; raises `Invalid` where the text cannot be divided at all.

Source: Dockerfile reference, "Format".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from schemas.dockerfile import split
from schemas.dockerfile.directives import Directive, read_directives
from schemas.dockerfile.faults import Fault, problem
from schemas.dockerfile.heredoc import Endless, Heredoc, fill, heredocs_of
from schemas.dockerfile.shell_words import is_space
from schemas.dockerfile.source_line import SourceLine, is_comment, join_line, strip_start
from schemas.dockerfile.split import Pair, Word
from schemas.errors import Invalid, Place, Problem

HEREDOC_WORDS = ("add", "copy", "run")
DEEPEST_TRIGGER = 8
LONGEST = 4 * 1024 * 1024
"""Characters: a longer file is refused unread."""
MOST = 4096
"""Instructions of a file: evaluating takes time that grows with their square."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One instruction, divided. `name` is in lower case; `pairs` are ENV's and LABEL's; `trigger` is ONBUILD's."""

    name: str
    word: Word
    flags: tuple[Word, ...]
    words: tuple[Word, ...]
    is_json: bool
    line: SourceLine
    comments: tuple[str, ...]
    pairs: tuple[Pair, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    trigger: Statement | None = None


@dataclass(frozen=True, slots=True)
class Divided:
    """A whole file: lines, directives, escape character, statements, and what is wrong with those that are missing."""

    name: str
    lines: tuple[str, ...]
    directives: tuple[Directive, ...]
    escape: str
    statements: tuple[Statement, ...]
    problems: tuple[Problem, ...]


Rest = tuple[list[Word], bool]
"""Words, and whether they were written as JSON."""


def divide(text: str, name: str) -> Divided:
    """Every statement of a Dockerfile. Raises Invalid where there is nothing to divide."""
    if len(text) > LONGEST:
        raise Invalid([Problem(Place(name, 1, 1), "", "", f"is longer than {LONGEST} characters", "split it")])
    lines = text.removeprefix("\ufeff").split("\n")
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise Invalid([Problem(Place(name, number, line.index("\0") + 1), "", "", "holds a NUL", "remove it")])
    directives = read_directives(lines, name)
    escape = next((directive.value for directive in directives if directive.name == "escape"), "\\")
    statements, problems = _statements(lines, name, len(directives), escape)
    if not statements and not problems:
        raise Invalid([Problem(Place(name, 1, 1), "", "", "has no instruction", "begin with FROM")])
    if len(statements) > MOST:
        place = statements[MOST].line.place(name)
        problems.append(Problem(place, "", "", f"holds more than {MOST} instructions", "split the build"))
    return Divided(name, tuple(lines), directives, escape, tuple(statements), tuple(problems))


def _statements(lines: Sequence[str], name: str, at: int, escape: str) -> tuple[list[Statement], list[Problem]]:
    statements: list[Statement] = []
    problems: list[Problem] = []
    comments: list[str] = []
    while at < len(lines):
        line = join_line(lines, at, escape)
        if line is None:
            if comment := _comment(lines[at]):
                comments.append(comment)
            else:
                comments = []
            at += 1
            continue
        at = line.last
        try:
            statement = read_statement(line, tuple(comments), escape)
            heredocs, at = _heredocs(statement, lines, at)
            statements.append(_with_heredocs(statement, heredocs, at))
        except Fault as fault:
            word = split.split_instruction(line.text)[0].text.upper()
            problems.append(problem(line.place(name, fault.offset), word, fault.message, fault.remedy, lines))
            if isinstance(fault, Endless):
                break
        comments = []
    return statements, problems


def _comment(line: str) -> str:
    """The text of a comment. An empty line or comment has none, and parts those above from what follows."""
    return strip_start(line)[1:].strip() if is_comment(line) else ""


def read_statement(line: SourceLine, comments: tuple[str, ...], escape: str, depth: int = 0) -> Statement:
    """Divide one joined line. Raises Fault."""
    word, at = split.split_instruction(line.text)
    flags, at = split.split_flags(line.text, at, escape)
    name = word.text.lower()
    text = line.text.rstrip()
    if name in ("env", "label"):
        pairs = tuple(split.split_pairs(text, at, escape))
        return Statement(name, word, tuple(flags), (), False, line, comments, pairs)
    if name == "onbuild":
        trigger = _read_trigger(line, text, at, escape, depth)
        return Statement(name, word, tuple(flags), (), False, line, comments, trigger=trigger)
    words, is_json = _DIVIDERS.get(name, _nothing)(text, at, escape)
    return Statement(name, word, tuple(flags), tuple(words), is_json, line, comments)


def _read_trigger(line: SourceLine, text: str, at: int, escape: str, depth: int) -> Statement | None:
    if at >= len(text):
        return None
    if depth >= DEEPEST_TRIGGER:
        raise Fault("ONBUILD may not hold ONBUILD", "", at)
    try:
        return read_statement(line.beginning(text[at:], at), (), escape, depth + 1)
    except Fault as fault:
        raise Fault(fault.message, fault.remedy, at + fault.offset) from None


def _heredocs(statement: Statement, lines: Sequence[str], at: int) -> tuple[tuple[Heredoc, ...], int]:
    """The heredocs that the statement's line announces, read from `lines[at]` on; and the index after the last."""
    holder = statement.trigger or statement
    if holder.name not in HEREDOC_WORDS or holder.is_json:
        return (), at
    heredocs = []
    for announced in heredocs_of(statement.line.text):
        heredoc, at = fill(announced, lines, at)
        heredocs.append(heredoc)
    return tuple(heredocs), at


def _with_heredocs(statement: Statement, heredocs: tuple[Heredoc, ...], last: int) -> Statement:
    """The statement, or the trigger in it, with its heredocs."""
    if not heredocs:
        return statement
    line = replace(statement.line, last=last)
    if statement.trigger is None:
        return replace(statement, line=line, heredocs=heredocs)
    return replace(statement, line=line, trigger=replace(statement.trigger, heredocs=heredocs))


def _nothing(text: str, at: int, escape: str) -> Rest:
    return [], False


def _one_text(text: str, at: int, escape: str) -> Rest:
    return ([split.Word(text[at:], at)] if at < len(text) else []), False


def _json_or_text(text: str, at: int, escape: str) -> Rest:
    words = split.read_json(text, at)
    return (words, True) if words is not None else _one_text(text, at, escape)


def _json_or_words(text: str, at: int, escape: str) -> Rest:
    words = split.read_json(text, at)
    return (words, True) if words is not None else (split.split_white(text, at), False)


def _white(text: str, at: int, escape: str) -> Rest:
    return split.split_white(text, at), False


def _quoted(text: str, at: int, escape: str) -> Rest:
    return split.split_words(text, at, escape), False


def _kind_and_command(text: str, at: int, escape: str) -> Rest:
    """HEALTHCHECK: a word, then a command."""
    if at >= len(text):
        return [], False
    end = at
    while end < len(text) and not is_space(text[end]):
        end += 1
    words, is_json = _json_or_text(text, split.skip_space(text, end), escape)
    return [split.Word(text[at:end], at), *words], is_json


_DIVIDERS: dict[str, Callable[[str, int, str], Rest]] = {
    "add": _json_or_words,
    "arg": _quoted,
    "cmd": _json_or_text,
    "copy": _json_or_words,
    "entrypoint": _json_or_text,
    "expose": _white,
    "from": _white,
    "healthcheck": _kind_and_command,
    "maintainer": _one_text,
    "run": _json_or_text,
    "shell": _json_or_text,
    "stopsignal": _one_text,
    "user": _one_text,
    "volume": _json_or_words,
    "workdir": _one_text,
}
KNOWN = (*sorted([*_DIVIDERS, "env", "label", "onbuild"]),)
"""The words of all instructions, in lower case."""
