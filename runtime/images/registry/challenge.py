"""What a 401 asks for: the challenges of a WWW-Authenticate header.

Pure. Source: RFC 9110 section 11.6.1; several challenges may share one header line, several lines may come.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PART = re.compile(
    rf"""[\s,]*(?:
        (?P<name>{_TOKEN})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>{_TOKEN})(?=[\s,]|$))
      | (?P<scheme>{_TOKEN})(?:[ \t]+(?P<token68>[A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|$)))?
    )""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in: the scheme and the names of the parameters are lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(self.parameters.get("scope", "").split())


def parse_challenges(lines: Iterable[str]) -> tuple[Challenge, ...]:
    """Every challenge in order. What is not well-formed ends its line; of a parameter given twice the first counts."""
    return tuple(challenge for line in lines for challenge in _parse_line(line))


def _parse_line(line: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while part := _PART.match(line, position):
        position = part.end()
        if part["scheme"]:
            found.append(Challenge(part["scheme"].lower()))
        elif found:
            value = part["bare"] if part["quoted"] is None else re.sub(r"\\(.)", r"\1", part["quoted"])
            found[-1].parameters.setdefault(part["name"].lower(), value)
    return found
