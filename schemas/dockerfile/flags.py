"""Flags of an instruction: which it takes, of which kind, and what was given.

Called by the readers of instructions. An unknown flag is refused with the nearest right one.

Source: Dockerfile reference; the flags stand in the section of their instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from schemas.dockerfile.faults import Fault
from schemas.dockerfile.split import Word
from schemas.nearest import suggest


class FlagKind(Enum):
    """Whether a flag is `--x` or `--x=true`; takes one value; or a value each time it is given."""

    SWITCH = "switch"
    VALUE = "value"
    VALUES = "values"


SWITCH, VALUE, VALUES = FlagKind.SWITCH, FlagKind.VALUE, FlagKind.VALUES

FLAGS: Mapping[str, Mapping[str, FlagKind]] = {
    "add": {
        "chmod": VALUE,
        "checksum": VALUE,
        "chown": VALUE,
        "exclude": VALUES,
        "keep-git-dir": SWITCH,
        "link": SWITCH,
        "unpack": SWITCH,
    },
    "copy": {
        "chmod": VALUE,
        "chown": VALUE,
        "exclude": VALUES,
        "from": VALUE,
        "link": SWITCH,
        "parents": SWITCH,
    },
    "from": {"platform": VALUE},
    "healthcheck": {
        "interval": VALUE,
        "retries": VALUE,
        "start-interval": VALUE,
        "start-period": VALUE,
        "timeout": VALUE,
    },
    "run": {"mount": VALUES, "network": VALUE, "security": VALUE},
}
"""The flags of each instruction that takes any."""

Given = Mapping[str, Sequence[Word]]
"""The values given for each flag. Their offsets are those of the flags."""


def read_flags(instruction: str, flags: Sequence[Word]) -> Given:
    """The flags given, checked. Raises Fault."""
    known = FLAGS.get(instruction, {})
    given: dict[str, list[Word]] = {}
    for flag in flags:
        name, equals, value = flag.text[2:].partition("=")
        kind = known.get(name)
        if kind is None:
            raise Fault(f"--{name} is no flag of {instruction.upper()}", _remedy(name, known), flag.offset)
        if name in given and kind is not VALUES:
            raise Fault(f"--{name} is given twice", "give it once", flag.offset)
        if kind is SWITCH:
            value = _read_switch(name, equals, value, flag.offset)
        elif not equals:
            raise Fault(f"--{name} has no value", f"write --{name}=VALUE", flag.offset)
        given.setdefault(name, []).append(Word(value, flag.offset))
    return given


def _remedy(name: str, known: Mapping[str, FlagKind]) -> str:
    if not known:
        return "it takes none"
    found = suggest(name, known, otherwise="")
    if found:
        return found.replace("mean ", "mean --")
    return "it takes " + ", ".join(f"--{each}" for each in sorted(known))


def _read_switch(name: str, equals: str, value: str, offset: int) -> str:
    if value.lower() in ("true", "false"):
        return value.lower()
    if not equals:
        return "true"
    raise Fault(f"--{name}={value} is neither true nor false", f"write --{name}", offset)


def text_of(given: Given, name: str, otherwise: str = "") -> str:
    """The value of a flag that takes one."""
    return given[name][0].text if name in given else otherwise


def texts_of(given: Given, name: str) -> tuple[str, ...]:
    """The values of a flag that may be given several times."""
    return tuple(word.text for word in given.get(name, ()))


def switch_of(given: Given, name: str) -> bool | None:
    """Whether a switch is on; None if it was not given."""
    return text_of(given, name) == "true" if name in given else None
