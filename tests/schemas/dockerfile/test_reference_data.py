"""Our reader against the data by which BuildKit's own is tested, where a copy of it is at hand.

`TRIMTAB_DOCKERFILE_DATA` names the directory, else it is `../shared/dockerfile` beside the project:
`testfiles/*/{Dockerfile,result}`, `testfiles-negative`, `shell`, `shell_lex.json`, `patternmatcher.json`. The forms it
holds have cases of our own in the other files here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.dockerfile.ignore import Ignore
from schemas.dockerfile.shell_words import Unexpandable, expand
from schemas.dockerfile.statement import Statement, divide
from schemas.errors import Invalid

BESIDE = Path(__file__).resolve().parents[3].parent / "shared" / "dockerfile"
DATA = Path(os.environ.get("TRIMTAB_DOCKERFILE_DATA", BESIDE))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="TRIMTAB_DOCKERFILE_DATA names no directory")

ENVIRONMENT = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": ""}
_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def quoted(text: str) -> str:
    """As Go's %q writes it."""
    return '"' + "".join(_quoted_char(char) for char in text) + '"'


def _quoted_char(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char in _ESCAPES:
        return _ESCAPES[char]
    if ord(char) < 0x20 or ord(char) == 0x7F:
        return f"\\x{ord(char):02x}"
    return char if char.isprintable() else f"\\u{ord(char):04x}"


def dump(statement: Statement) -> str:
    parts = [statement.name]
    if statement.flags:
        parts.append("[" + " ".join(quoted(flag.text) for flag in statement.flags) + "]")
    for pair in statement.pairs:
        parts += [quoted(pair.name), quoted(pair.value), quoted("" if pair.legacy else "=")]
    if statement.trigger is not None:
        parts.append(dump(statement.trigger))
    return "(" + " ".join([*parts, *(quoted(word.text) for word in statement.words)]) + ")"


def directories(name: str) -> list[Any]:
    found = sorted((DATA / name).iterdir()) if (DATA / name).is_dir() else []
    return [pytest.param(directory, id=directory.name) for directory in found]


@pytest.mark.parametrize("directory", directories("testfiles"))
def test_every_file_has_the_tree_of_the_reference(directory: Path) -> None:
    divided = divide((directory / "Dockerfile").read_bytes().decode(), "Dockerfile")
    assert not divided.problems
    assert "\n".join(map(dump, divided.statements)) == (directory / "result").read_text().rstrip("\n")


@pytest.mark.parametrize("directory", directories("testfiles-negative"))
def test_every_negative_is_refused(directory: Path) -> None:
    try:
        problems = divide((directory / "Dockerfile").read_bytes().decode(), "Dockerfile").problems
    except Invalid as error:
        problems = error.problems
    assert problems


def test_instructions_stand_on_the_lines_of_the_reference() -> None:
    text = (DATA / "testfile-line" / "Dockerfile").read_text()
    statements = divide(text, "Dockerfile").statements
    assert [(each.line.parts[0].line, each.line.last) for each in statements] == [(5, 5), (11, 12), (17, 31)]


def rows() -> Iterator[tuple[str, str]]:
    for line in (DATA / "shell" / "envVarTest").read_text().splitlines():
        if line and not line.startswith(("#", "W")):
            word, expected = line.split("|")[1:]
            yield word.strip(), expected.strip()


def test_every_word_is_worth_what_the_reference_says() -> None:
    wrong = []
    for word, expected in rows():
        try:
            found = expand(word, ENVIRONMENT).text
        except Unexpandable:
            found = "error"
        if found != expected:
            wrong.append((word, expected, found))
    assert wrong == []


def test_words_part_where_the_reference_parts_them() -> None:
    environment: dict[str, str] = {}
    wrong = []
    for line in (DATA / "shell" / "wordsTest").read_text().splitlines():
        if line.startswith("ENV "):
            name, _, value = line[4:].partition("=")
            environment[name] = value
            continue
        word, bar, expected = line.partition(" | ")
        if not bar or line.startswith("#"):
            continue
        try:
            found = list(expand(word.strip(), environment).words)
        except Unexpandable:
            found = ["error"]
        if found != expected.lstrip().split(","):
            wrong.append((word, expected, found))
    assert wrong == []


def test_every_substitution_matches_the_names_the_reference_matches() -> None:
    wrong = []
    for row in json.loads((DATA / "shell_lex.json").read_text()):
        environment = dict(each.split("=", 1) for each in row["envs"])
        try:
            found = expand(row["word"], environment)
            right = not row["error"] and found.text == row["expected"]
            right = right and (sorted(found.matched), sorted(found.unset)) == (sorted(row["matched"]), row["unset"])
        except Unexpandable:
            right = row["error"]
        if not right:
            wrong.append(row)
    assert wrong == []


def test_every_ignore_pattern_matches_as_in_the_reference() -> None:
    rows_ = json.loads((DATA / "patternmatcher.json").read_text())
    assert [row for row in rows_ if Ignore(row["patterns"]).matches(row["path"]) != row["match"]] == []
