"""The plain types of spec fields: text, names, flags, counts, sizes, durations, modes, maps of text.

Each reads every spelling a manifest may use, also what a filled-in variable leaves (`"80"` for 80), and refuses the
rest with what to write instead. Types that know the kernel's words or addresses are in `kernel_words` and `addresses`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import PlainSerializer

from schemas import units
from schemas.faults import Fault, collect, refuse
from schemas.names import NAME_PATTERN
from schemas.spelling import INTO_BAG, SORTED, VARIABLE, Spelling, pattern

_NAME = re.compile(NAME_PATTERN)
KINDS: dict[type, str] = {dict: "map", list: "list", tuple: "list", type(None): "null"}


def read_text(value: Any) -> str:
    """Text as written; a number or boolean as it is spelled. No NUL, which ends a string in the kernel."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise ValueError(f"a {KINDS.get(type(value), 'value')} stands where text belongs; write a string")
    text = str(value)
    if "\0" in text:
        raise ValueError("holds a NUL character; leave it out")
    return text


def read_line(value: Any) -> str:
    """One line of text that is not empty: no control characters."""
    text = read_text(value)
    if not text or any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError(f"{text!r} is empty or holds control characters; write one line of text")
    return text


def is_name(text: str) -> bool:
    """Whether `text` can be the name of an object of the manifests."""
    return _NAME.fullmatch(text) is not None


def read_name(value: Any) -> str:
    """The name of an object of the manifests. Safe as a file name: no slash, no leading dot."""
    text = read_text(value)
    if not is_name(text):
        raise ValueError(f"{text!r} is no name; write up to 63 lower-case letters, digits, and . _ - inside")
    return text


def read_flag(value: Any) -> bool:
    """`true` or `false`, also as text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(f"{value!r} is neither true nor false; write true or false")


def read_whole(value: Any, least: int, most: int) -> int:
    """A number, or digits as text. Raises ValueError with the bounds."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,20}", value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no whole number; write one from {least} to {most}")
    if not least <= value <= most:
        raise ValueError(f"{value} is out of range; write a whole number from {least} to {most}")
    return int(value)


def whole(least: int, most: int) -> Any:
    """Annotation of a whole number from `least` to `most`, both included."""
    schema = {"anyOf": [{"type": "integer", "minimum": least, "maximum": most}, pattern(r"[-+]?[0-9]+")]}
    return Spelling(lambda value: read_whole(value, least, most), "integer", schema, final=True)


def read_fraction(value: Any) -> float:
    """0 to 1. Raises ValueError with the remedy."""
    try:
        fraction = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        fraction = -1.0
    if not 0 <= fraction <= 1:
        raise ValueError(f"{value!r} is no ratio; write a number from 0 to 1")
    return fraction


def one_of(*words: str, also: Mapping[str, str] | None = None) -> Spelling:
    """Annotation of one of `words`; `also` maps other spellings to one of them."""
    synonyms = dict(also or {})

    def read(value: Any) -> str:
        text = read_text(value)
        chosen = synonyms.get(text, text)
        if chosen not in words:
            raise ValueError(f"{text!r} is not known here; write {' or '.join(words)}")
        return chosen

    schema = {"anyOf": [{"enum": [*words, *synonyms]}, {"type": "string", "pattern": VARIABLE}]}
    return Spelling(read, "one of " + ", ".join(words), schema, final=True)


def read_pairs(value: Any, separator: str = "=") -> dict[str, str | None]:
    """A map, or a list of `KEY=VALUE`, as a map; None where no value is given. Raises ValueError."""
    if isinstance(value, Mapping):
        entries: Iterable[tuple[str | int, Any]] = value.items()
    elif isinstance(value, list | tuple):
        entries = enumerate(value)
    else:
        raise ValueError(f"{value!r} is neither a map nor a list; write KEY: VALUE lines")
    found: dict[str, str | None] = {}
    faults: list[Fault] = []
    for place, item in entries:
        try:
            name, text = _pair(place, item, separator)
            if name in found:
                raise ValueError(f"{name!r} is given twice; keep one of them")
            found[name] = text
        except ValueError as error:
            faults.append(((place,), str(error)))
    refuse("pairs", faults)
    return found


def _pair(place: Any, item: Any, separator: str) -> tuple[str, str | None]:
    """Of a list's item at an index, or of a map's item at a key."""
    key, text = place, item
    if isinstance(place, int):
        key, given, text = read_text(item).partition(separator)
        text = text if given else None
    if key == "":
        raise ValueError(f"has no name; write NAME{separator}VALUE")
    name = read_line(key)
    if separator == "=" and "=" in name:
        raise ValueError(f"the key {name!r} holds '='; leave it out")
    return name, None if text is None else read_text(text)


def read_labels(value: Any) -> dict[str, str]:
    """A mapping, or a list of NAME=VALUE; a missing value is empty. Raises ValueError."""
    return {key: text or "" for key, text in read_pairs(value).items()}


def read_list(value: Any) -> Any:
    """One value is a list of one."""
    return [value] if isinstance(value, str | int | float) and not isinstance(value, bool) else value


def words(reader: Callable[[Any], str], says: str, item: Mapping[str, Any], *, single: bool = False) -> Spelling:
    """Annotation of a list without repetitions, each item read by `reader`; with `single`, also of one alone."""

    def read(value: Any) -> tuple[str, ...]:
        items = read_list(value)
        if not isinstance(items, list | tuple):
            raise ValueError(f"is no {says}; write - and a value on each line")
        return tuple(dict.fromkeys(collect(says, items, reader)))

    return Spelling(read, says, list_of(item, single=single), final=True)


TEXT = {"type": ["string", "number", "boolean"]}
PAIRS = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
        {"type": "array", "items": {"type": "string"}},
    ]
}
NAME = pattern(NAME_PATTERN.removeprefix("^").removesuffix("$"))


def list_of(item: Mapping[str, Any], *, single: bool = False) -> dict[str, Any]:
    """JSON Schema of a list of `item`; with `single`, also of one alone."""
    several = {"type": "array", "items": dict(item)}
    return {"anyOf": [several, dict(item)]} if single else several


Text = Annotated[str, Spelling(read_text, "string", TEXT, final=True)]
Line = Annotated[str, Spelling(read_line, "string", TEXT, final=True)]
Name = Annotated[str, Spelling(read_name, "name", NAME, final=True)]
Names = Annotated[tuple[str, ...], words(read_name, "list of name", NAME), INTO_BAG, SORTED]
Flag = Annotated[
    bool,
    Spelling(
        read_flag, "boolean", {"anyOf": [{"type": "boolean"}, pattern("[Tt]rue|[Ff]alse|TRUE|FALSE")]}, final=True
    ),
]
Labels = Annotated[dict[str, str], Spelling(read_labels, "map of string", PAIRS, final=True)]
BYTES = {"anyOf": [{"type": "integer", "minimum": 0}, pattern(units.SIZE_PATTERN)]}
DURATION = {"anyOf": [{"type": "number", "minimum": 0}, pattern(units.DURATION_PATTERN)]}
Bytes = Annotated[int, Spelling(units.read_bytes, "size", BYTES, final=True)]
Room = Annotated[int | None, Spelling(lambda value: units.read_bytes(value) or None, "size", BYTES, final=True)]
"""A size of which 0 means the default, as in Docker."""
Seconds = Annotated[float, Spelling(units.read_seconds, "duration", DURATION, final=True)]
Mode = Annotated[
    int,
    Spelling(units.read_mode, "octal mode", {"anyOf": [{"type": "integer"}, pattern(units.MODE_PATTERN)]}, final=True),
    PlainSerializer(units.format_mode),
]
Ratio = Annotated[
    float, Spelling(read_fraction, "number", {"type": ["number", "string"], "minimum": 0, "maximum": 1}, final=True)
]
