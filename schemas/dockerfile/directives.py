"""Parser directives: `# syntax=`, `# escape=`, `# check=`, in the comments a Dockerfile opens with.

The first line that is none ends them; each may stand once. Called by `statement`. `syntax` is kept and not obeyed: this
reader is the frontend.

Source: Dockerfile reference, "Parser directives".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.dockerfile.faults import problem
from schemas.dockerfile.source_line import strip_start
from schemas.errors import Invalid, Place

KNOWN = ("syntax", "escape", "check")
ESCAPES = ("\\", "`")

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_OPTION = re.compile(r"\s*([a-z]+)\s*=\s*(.*?)\s*")


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive, its name in lower case."""

    name: str
    value: str
    place: Place


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """`# check=`: which rules are left out, which experimental ones are asked for, whether a finding is an error."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False


def read_directives(lines: Sequence[str], name: str) -> tuple[Directive, ...]:
    """The directives, one a line from the first on. Raises Invalid for one given twice or an escape that is none."""
    found: list[Directive] = []
    for number, line in enumerate(lines, 1):
        directive = read_directive(line, Place(name, number, len(line) - len(strip_start(line)) + 1))
        if directive is None:
            break
        if any(directive.name == other.name for other in found):
            message = f"the parser directive {directive.name} stands twice"
            raise Invalid([problem(directive.place, "", message, "leave one", lines)])
        if directive.name == "escape" and directive.value not in ESCAPES:
            message = f"the escape character {directive.value!r} cannot be"
            raise Invalid([problem(directive.place, "", message, "write \\ or `", lines)])
        found.append(directive)
    return tuple(found)


def read_directive(line: str, place: Place) -> Directive | None:
    """The directive of a comment, or None."""
    match = _DIRECTIVE.fullmatch(strip_start(line).rstrip("\r"))
    if match is None or match[1].lower() not in KNOWN:
        return None
    return Directive(match[1].lower(), match[2], place)


def read_check_options(value: str) -> CheckOptions:
    """`skip=A,B;error=true` -> what it asks for; `all` stands for every rule. Raises ValueError."""
    options = {"skip": "", "experimental": "", "error": "false"}
    for part in filter(str.strip, value.split(";")):
        match = _OPTION.fullmatch(part)
        if match is None or match[1] not in options:
            raise ValueError(f"{part.strip()!r} is no option; write skip=RULES, experimental=RULES or error=true")
        options[match[1]] = match[2]
    if options["error"].lower() not in ("true", "false", "1", "0", "t", "f"):
        raise ValueError(f"error={options['error']} is neither; write error=true or error=false")
    return CheckOptions(
        _rules(options["skip"]), _rules(options["experimental"]), options["error"].lower() in ("true", "1", "t")
    )


def _rules(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())
