"""Replaces variables in one scalar value, as the Compose Specification's section Interpolation says.

    $NAME  ${NAME}        the value
    ${NAME:-text}         the value, or `text` when NAME is unset or empty    ${NAME-text}   ... only when unset
    ${NAME:+text}         `text` when NAME is set and not empty, else nothing  ${NAME+text}   ... when set
    ${NAME:?text}         the value; refused with `text` when unset or empty   ${NAME?text}   ... only when unset
    $$                    a dollar sign

`text` may hold variables again, looked at only when it is used. A dollar sign before anything else stays as it is.

Two decisions. Where Compose warns that a variable without a default is unset and goes on with nothing, we refuse: an
empty image tag or bind path is worse than a message. And the result is always text, which the spec's model converts
to what the field holds (`replicas: ${N}` becomes an integer), as Compose does: resolving it as YAML would turn
`VERSION=1.10` into the number 1.1, and `user: ${UID}` into a number where text is wanted.

Called by `load` for scalar values, never for keys, and by `env_file`. Reads no environment of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_DEPTH = 32
LONGEST = 2**20
"""Characters that variables may make of one value."""

_START = re.compile(r"\$(?:(?P<dollar>\$)|(?P<name>[_a-zA-Z][_a-zA-Z0-9]*)|(?P<brace>\{))")
_BRACED = re.compile(r"(?P<name>[_a-zA-Z][_a-zA-Z0-9]*)(?:(?P<operator>:?[-?+])(?P<operand>.*))?", re.DOTALL)
_BRACES = re.compile(r"\$\{|\}")
_FORMS = "write ${NAME} or ${NAME:-default}, or $$ for a dollar sign"


@dataclass(frozen=True, slots=True)
class Interpolated:
    """The text with its variables replaced, and what is wrong with it: (message, remedy) pairs."""

    text: str
    faults: tuple[tuple[str, str], ...] = ()


def interpolate(text: str, environment: Mapping[str, str]) -> Interpolated:
    """Replace every variable of `text`. Raises nothing: an unset variable is a fault, and stands for nothing."""
    faults: list[tuple[str, str]] = []
    replaced = _replace(text, environment, faults, 0)
    return Interpolated(replaced, tuple(faults))


def _replace(text: str, environment: Mapping[str, str], faults: list[tuple[str, str]], depth: int) -> str:
    parts: list[str] = []
    at = length = 0
    while found := _START.search(text, at):
        parts.append(text[at : found.start()])
        at = found.end()
        if found["dollar"]:
            parts.append("$")
        elif found["name"]:
            parts.append(_value(found["name"], environment, faults))
        else:
            end = _closing(text, at)
            if end is None or depth == MAX_DEPTH:
                faults.append(_unusable(text[found.start() :], closed=end is not None))
                return text
            parts.append(_braced(text[at:end], environment, faults, depth))
            at = end + 1
        length += len(parts[-1])
        if length > LONGEST:
            faults.append((f"variables make the text longer than {LONGEST:,} characters", "shorten them"))
            return ""
    return "".join(parts) + text[at:]


def _closing(text: str, at: int) -> int | None:
    """Where the brace opened before `at` closes: only `${` opens another one."""
    opened = 1
    for found in _BRACES.finditer(text, at):
        opened += 1 if found.group() == "${" else -1
        if opened == 0:
            return found.start()
    return None


def _braced(inside: str, environment: Mapping[str, str], faults: list[tuple[str, str]], depth: int) -> str:
    found = _BRACED.fullmatch(inside)
    if found is None:
        faults.append((f"`${{{_shorten(inside)}}}` is not a variable", _FORMS))
        return ""
    name, operator, operand = found["name"], found["operator"], found["operand"]
    if operator is None:
        return _value(name, environment, faults)
    value = environment.get(name)
    given = value is not None and (value != "" or not operator.startswith(":"))
    match operator[-1]:
        case "+":
            return _replace(operand, environment, faults, depth + 1) if given else ""
        case "-" if not given:
            return _replace(operand, environment, faults, depth + 1)
        case "?" if not given:
            faults.append(_required(name, value, _replace(operand, environment, [], depth + 1)))
    return value or ""


def _unusable(text: str, *, closed: bool) -> tuple[str, str]:
    if closed:
        return f"variables are nested more than {MAX_DEPTH} deep", "flatten them"
    return f"`{_shorten(text)}` is not closed", "add the `}`"


def _required(name: str, value: str | None, why: str) -> tuple[str, str]:
    message = f"the variable {name} is {'not set' if value is None else 'empty'}"
    return f"{message}: {why}" if why else message, "set it in the environment or with --env-file"


def _value(name: str, environment: Mapping[str, str], faults: list[tuple[str, str]]) -> str:
    value = environment.get(name)
    if value is None:
        remedy = f"set it, give a default as in ${{{name}:-default}}, or write $$ for a dollar sign"
        faults.append((f"the variable {name} is not set", remedy))
        return ""
    return value


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
