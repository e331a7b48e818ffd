"""YAML (and so JSON) that SOPS has encrypted: where its values stand, so that they are replaced in place. Pure.

What is made of it is the same text with the values decrypted and SOPS's own notes blanked out, so that every line keeps
its number, and whatever is wrong with it is told where its author finds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from reconciler.sources.sops.metadata import STEP
from schemas.errors import Refused

DEEPEST = 64
NOTES = "sops"
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?")
_TRUTH = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value: the keys that lead to it, its text and type, and where it stands (characters from, to)."""

    path: Path
    text: str
    type: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """Values in the order of the file; `notes`: SOPS's own mapping; `blank`: where it stands in each document."""

    leaves: tuple[Leaf, ...]
    notes: Mapping[str, Any] | None
    blank: tuple[tuple[int, int], ...]


def read_document(text: str, name: str) -> Document:
    """Of all documents in the text. Raises Refused for what is no YAML, or holds an alias."""
    reader = _Reader(name)
    try:
        reader.read(yaml.parse(text, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise Refused("cannot be read as YAML", step=STEP, path=name) from error
    return Document(tuple(reader.leaves), reader.notes, tuple(reader.blank))


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.leaves: list[Leaf] = []
        self.notes: Mapping[str, Any] | None = None
        self.blank: list[tuple[int, int]] = []

    def read(self, events: Iterator[yaml.Event]) -> None:
        for event in events:
            if isinstance(event, yaml.MappingStartEvent):
                self._mapping(events, (), 0)
            elif isinstance(event, yaml.SequenceStartEvent):
                self._sequence(events, (), 0)
            elif isinstance(event, yaml.ScalarEvent):
                self._leaf(event, ())

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path, depth: int) -> int:
        """Where the value ends."""
        if isinstance(event, yaml.AliasEvent):
            raise Refused("holds an alias, which SOPS does not write", step=STEP, path=self.name)
        if depth > DEEPEST:
            raise Refused(f"is nested deeper than {DEEPEST}", step=STEP, path=self.name)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path, depth)
        assert isinstance(event, yaml.ScalarEvent)
        self._leaf(event, path)
        return _end(event)

    def _mapping(self, events: Iterator[yaml.Event], path: Path, depth: int) -> int:
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise Refused("has a key that is no text", step=STEP, path=self.name)
            if depth == 0 and event.value == NOTES:
                known = len(self.leaves)
                value = next(events)
                end = self._value(value, events, (NOTES,), 1)
                self.notes = self.notes or _nested(self.leaves[known:])
                del self.leaves[known:]
                self.blank.append((_start(event), end))
            else:
                self._value(next(events), events, (*path, event.value), depth + 1)
        return _end(event)

    def _sequence(self, events: Iterator[yaml.Event], path: Path, depth: int) -> int:
        number = 0
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            # places in lists are no part of a value's path, but of the notes' own
            inside = (*path, str(number)) if path[:1] == (NOTES,) else path
            self._value(event, events, inside, depth + 1)
            number += 1
        return _end(event)

    def _leaf(self, event: yaml.ScalarEvent, path: Path) -> None:
        type = "str" if event.style else type_of(event.value)
        self.leaves.append(Leaf(path, event.value, type, _start(event), _end(event)))


def _start(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return int(event.start_mark.index)


def _end(event: yaml.Event) -> int:
    assert event.end_mark is not None
    return int(event.end_mark.index)


def type_of(plain: str) -> str:
    """What a plain scalar is, of the forms that SOPS writes."""
    if plain in _NULL:
        return "null"
    if plain in _TRUTH:
        return "bool"
    if _INTEGER.fullmatch(plain):
        return "int"
    return "float" if _FLOAT.fullmatch(plain) else "str"


def _nested(leaves: list[Leaf]) -> dict[str, Any]:
    """SOPS's notes as a mapping; lists are mappings by number, `age` a list."""
    nested: dict[str, Any] = {}
    for leaf in leaves:
        at = nested
        for step in leaf.path[1:-1]:
            at = at.setdefault(step, {})
        if len(leaf.path) > 1 and leaf.type != "null":
            at[leaf.path[-1]] = leaf.text
    return {name: _listed(value) for name, value in nested.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_listed(item) for item in value.values()]
    return {key: _listed(item) for key, item in value.items()}


def rewrite(text: str, replaced: Mapping[tuple[int, int], str], blank: tuple[tuple[int, int], ...]) -> str:
    """The text with other values, and without SOPS's notes; every line keeps its number."""
    pieces: list[str] = []
    at = 0
    edits = [*replaced.items(), *((_with_comma(text, *span), "\n" * text.count("\n", *span)) for span in blank)]
    for (start, end), new in sorted(edits):
        pieces += [text[at:start], new]
        at = end
    return "".join([*pieces, text[at:]])


def _with_comma(text: str, start: int, end: int) -> tuple[int, int]:
    """In JSON, with the comma after it; the one before it may stay, as YAML has it."""
    after = re.compile(r"\s*,").match(text, end)
    return (start, after.end()) if after is not None and "\n" not in after[0] else (start, end)
