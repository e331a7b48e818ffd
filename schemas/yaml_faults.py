"""Why a text cannot be read as YAML: the parser's words as a message, a place, and what usually mends it.

Called by `yaml_text` alone.
"""

from __future__ import annotations

import yaml

from schemas.errors import Place, Problem

_REMEDIES = (
    ("mapping values are not allowed", "indent it as its neighbours, or quote the value if its text holds `: `"),
    ("did not find expected key", "check the indentation, and quote values that begin with a special character"),
    ("did not find expected '-'", "indent every item of the list alike"),
    ("did not find expected ',' or ']'", "write the `,` that is missing before it, or close the list with `]`"),
    ("did not find expected ',' or '}'", "write the `,` that is missing before it, or close the mapping with `}`"),
    ("did not find expected node content", "write a value, or remove the comma or bracket before it"),
    ("did not find expected hexdecimal number", "write the escape's digits, or use single quotes"),
    ("did not find expected alphabetic or numeric character", "name the anchor or alias, or put the value in quotes"),
    ("did not find expected comment or line break", "put the text on the next line"),
    ("found undefined tag handle", "remove the tag, or put the value in quotes"),
    ("found invalid Unicode", "write another character, or use single quotes"),
    ("incomplete", "give `%YAML 1.2`, or leave the line out"),
    ("found duplicate", "remove one of the two"),
    ("found incompatible YAML document", "remove the line that begins with %YAML"),
    ("indentation indicator", "write | or > alone"),
    ("mapping keys are not allowed", "write the key without `?`"),
    ("could not find expected ':'", "write `key: value`, with a space after the colon"),
    ("unexpected end of stream", "close the quote"),
    ("unexpected document indicator", "close the quote"),
    ("unknown escape character", "in double quotes write `\\\\` for a backslash, or use single quotes"),
    ("document start", "begin the next document with a line `---`"),
    ("block sequence entries are not allowed", "put the list on lines of its own"),
)


OTHERWISE = "look at it and at the line before: indentation, quotes, brackets"


def explain_error(file: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    """libyaml's error as a problem: its place, its words, and what usually mends it."""
    lines = text.split("\n")
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    if line >= len(lines):  # the parser counts one line more at the end of a text without a final line end
        line, column = len(lines) - 1, len(lines[-1])
    place = Place(file, line + 1, column + 1)
    words = error.problem or "is not YAML"
    if "cannot start any token" in words:
        return _bad_character(place, lines[line][column : column + 1])
    if "tab character" in words:
        return _bad_character(place, "\t")
    if "nesting depth" in words:  # newer libyaml's own limit, met before ours
        return Problem(place, "", "", "is nested too many levels deep", "flatten it")
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in words), OTHERWISE)
    if error.context and error.context_mark and error.context_mark.line != line:
        words += f", {error.context} that begins on line {error.context_mark.line + 1}"
    return Problem(place, "", "", words, remedy)


def _bad_character(place: Place, found: str) -> Problem:
    if found == "\t":
        return Problem(place, "", "", "is indented with a tab", "indent with spaces")
    return Problem(place, "", "", f"a plain value cannot begin with {found!r}", "put the value in quotes")
