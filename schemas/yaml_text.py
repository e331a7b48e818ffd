"""Reads YAML 1.2 text into plain values, and remembers where each of them stands.

Called by `load` with the text of one file. Built on libyaml's events, in one pass: the parser's own composer recurses
in C and would exhaust the stack on hostile nesting. Refused, each with its place and a remedy: syntax errors, tabs,
bytes that are not UTF-8, control characters, duplicate keys, keys that are not text, custom tags, aliases that are
unknown, recursive or multiply the text, nesting and size beyond all measure. What does not end the parse is
collected, so that one run reports it all.

It knows nothing of manifests. Variables are replaced by the function it is given, in scalar values and not in keys
(Compose Specification, section Interpolation).

Sources: YAML 1.2.2; merge keys `<<` as yaml.org/type/merge.html and the Compose Specification, section Fragments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from schemas.errors import Place, Problem
from schemas.field_path import Path, format_path
from schemas.scalars import Scalar, resolve
from schemas.source_text import MAX_BYTES, Unreadable, decode
from schemas.yaml_faults import explain_error

BEGINNINGS = ("apiVersion", "kind")
"""Keys with which people begin a manifest: a second one mostly belongs to a next document."""
MAX_DEPTH = 64
MAX_VALUES = 250_000
MAX_PROBLEMS = 500
MAX_ALIASED = 100_000
"""Values that the aliases of one text may add to what it spells out."""

Below: TypeAlias = "dict[str, Spot] | list[Spot] | None"
Spot: TypeAlias = tuple[int, int, Below]
"""Line and column (from 0) of a key or list item, and the spots below it. A tuple: one is made for every value."""

Fault = tuple[str, str]
"""A message and its remedy."""

Substitute = Callable[[str], tuple[str, tuple[Fault, ...]]]
"""Replaces the variables of one scalar; gives the text, and what is wrong with it."""

TAGS: dict[str, tuple[type, ...]] = {
    "tag:yaml.org,2002:int": (int,),
    "tag:yaml.org,2002:float": (float, int),
    "tag:yaml.org,2002:bool": (bool,),
    "tag:yaml.org,2002:null": (type(None),),
}
TEXT_TAGS = ("!", "tag:yaml.org,2002:str")
COLLECTION_TAGS = {"tag:yaml.org,2002:map": MappingStartEvent, "tag:yaml.org,2002:seq": SequenceStartEvent}


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value, the spot of its root, and what is wrong with it (problems name no object yet)."""

    value: Any
    spot: Spot
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Anchored:
    """What an anchor names; how many values an alias of it adds, and how many levels."""

    value: Any
    below: Below
    size: int = 1
    levels: int = 0


def read_documents(file: str, text: str | bytes, substitute: Substitute) -> tuple[list[Document], list[Problem]]:
    """The documents of `text`, and the problems of the one at which the parse ended, if it did. Raises nothing."""
    documents: list[Document] = []
    try:
        decoded = decode(text)
    except Unreadable as error:
        return [], [unreadable(file, error)]
    reader = _Reader(file, decoded, substitute)
    try:
        reader.read_into(documents)
    except Unreadable as error:
        return documents, [*reader.problems, unreadable(file, error)]
    except yaml.MarkedYAMLError as error:
        return documents, [*reader.problems, explain_error(file, decoded, error)]
    return documents, []


def unreadable(file: str, error: Unreadable) -> Problem:
    """A text that is no YAML, as a problem with its place."""
    return Problem(Place(file, error.line, error.column), "", "", error.message, error.remedy)


class _Reader:
    """The state of one parse: recursive descent over libyaml's events, a method for each kind of node."""

    def __init__(self, file: str, text: str, substitute: Substitute) -> None:
        self.file = file
        self.next_event: Callable[[], Any] = yaml.CSafeLoader(text).get_event
        self.substitute = substitute
        self.anchors: dict[str, Anchored | None] = {}
        self.problems: list[Problem] = []
        self.path: list[str | int] = []
        self.size = 0
        self.deepest = 0
        self.aliased = 0
        self.substituted = 0

    def read_into(self, documents: list[Document]) -> None:
        while (event := self.next_event()) is not None:
            if isinstance(event, DocumentStartEvent):
                self.anchors, self.deepest = {}, 0
                root = self.next_event()
                value, below = self.node(root)
                spot = (root.start_mark.line, root.start_mark.column, below)
                documents.append(Document(value, spot, tuple(self.problems)))
                self.problems = []

    def node(self, event: Event) -> tuple[Any, Below]:
        self.size += 1
        if self.size > MAX_VALUES:
            raise self.stop(event, f"holds more than {MAX_VALUES:,} values", "split it into several files")
        if isinstance(event, ScalarEvent):
            value = self.scalar(event)
            if event.anchor:
                self.anchors[event.anchor] = Anchored(value, None)
            return value, None
        if isinstance(event, AliasEvent):
            return self.alias(event)
        return self.collection(event)

    def scalar(self, event: ScalarEvent) -> Scalar:
        text = event.value
        if "$" in text:
            text, faults = self.substitute(text)
            for message, remedy in faults:
                self.fault(event, message, remedy)
            self.substituted += len(text)
            if self.substituted > MAX_BYTES:
                raise self.stop(event, f"variables make the text larger than {MAX_BYTES // 2**20} MiB", "shorten them")
            if event.tag is None:
                return text
        if event.implicit[0] and event.tag is None:
            return resolve(text)
        if event.tag is None or event.tag in TEXT_TAGS:
            return text
        return self.tagged(event, text)

    def tagged(self, event: ScalarEvent, text: str) -> Scalar:
        if event.tag not in TAGS:
            self.refuse_tag(event)
            return text
        value = resolve(text)
        if not isinstance(value, TAGS[event.tag]):
            self.fault(event, f"{text!r} is not what its tag says", "remove the tag")
        return value

    def collection(self, event: Event) -> tuple[Any, Below]:
        assert isinstance(event, MappingStartEvent | SequenceStartEvent)
        if event.tag is not None and not isinstance(event, COLLECTION_TAGS.get(event.tag, ())):
            self.refuse_tag(event)
        self.descend(event, 1)
        if event.anchor:
            return self.anchored(event, event.anchor)
        return self.mapping() if isinstance(event, MappingStartEvent) else self.sequence()

    def anchored(self, event: MappingStartEvent | SequenceStartEvent, name: str) -> tuple[Any, Below]:
        """A collection that aliases may name once it is complete, not before."""
        size, deepest, level = self.size, self.deepest, len(self.path)
        self.anchors[name] = None
        self.deepest = level + 1
        value: tuple[Any, Below] = self.mapping() if isinstance(event, MappingStartEvent) else self.sequence()
        self.anchors[name] = Anchored(*value, self.size - size + 1, self.deepest - level)
        self.deepest = max(deepest, self.deepest)
        return value

    def descend(self, event: Event, levels: int) -> None:
        """Note that what is read here goes so many levels deeper; refuse too many, also by way of aliases."""
        self.deepest = max(self.deepest, len(self.path) + levels)
        if self.deepest > MAX_DEPTH:
            raise self.stop(event, f"is nested more than {MAX_DEPTH} levels deep", "flatten it")

    def sequence(self) -> tuple[list[Any], list[Spot]]:
        values: list[Any] = []
        spots: list[Spot] = []
        while not isinstance(event := self.next_event(), SequenceEndEvent):
            mark = event.start_mark
            self.path.append(len(values))
            value, below = self.node(event)
            self.path.pop()
            values.append(value)
            spots.append((mark.line, mark.column, below))
        return values, spots

    def mapping(self) -> tuple[dict[str, Any], dict[str, Spot]]:
        values: dict[str, Any] = {}
        spots: dict[str, Spot] = {}
        merges: list[tuple[dict[str, Any], dict[str, Spot]]] = []
        merge_key: Spot | None = None
        while not isinstance(event := self.next_event(), MappingEndEvent):
            mark = event.start_mark
            key = self.key(event)
            self.path.append(key or "")
            value, below = self.node(self.next_event())
            spot = (mark.line, mark.column, below)
            if key == "<<" and event.implicit[0]:
                merge_key = self.once(event, merge_key, spot)
                merges += self.merged(event, value, below)
            elif key is not None:
                spots[key] = self.once(event, spots.get(key), spot)
                values.setdefault(key, value)
            self.path.pop()
        for source, source_spots in merges:
            for name in source:
                if name not in values:
                    values[name] = source[name]
                    spots[name] = source_spots[name]
        return values, spots

    def key(self, event: Event) -> str | None:
        """The text of a key. What is no text is reported, read past, and None."""
        if not isinstance(event, ScalarEvent):
            self.fault(event, "a key is a list, a mapping or an alias", "write the key as plain text")
            self.path.append("?")
            self.node(event)
            self.path.pop()
            return None
        if event.anchor:
            self.anchors[event.anchor] = Anchored(event.value, None)
        if event.tag is not None and event.tag not in TEXT_TAGS:
            self.refuse_tag(event)
            return None
        if event.implicit[0] and not isinstance(resolve(event.value), str):
            shown = event.value or "null"
            self.fault(event, f"the key {shown} is not text", f'quote it: "{event.value}"')
            return None
        text: str = event.value
        return text

    def once(self, event: Event, first: Spot | None, spot: Spot) -> Spot:
        """The spot that stands: the first. A second one is reported with both places."""
        if first is None:
            return spot
        place = Place(self.file, first[0] + 1, first[1] + 1)
        name = self.path[-1]
        is_next = len(self.path) == 1 and name in BEGINNINGS
        remedy = "where another object begins, write a line `---` before it" if is_next else "remove one of the two"
        self.fault(event, f"the key {name} was already given at {place}", remedy)
        return first

    def merged(self, event: Event, value: Any, below: Below) -> list[tuple[dict[str, Any], dict[str, Spot]]]:
        """What `<<` brings in, strongest first: one mapping, or a list of mappings."""
        values, spots = (value, below) if isinstance(value, list) else ([value], [(0, 0, below)])
        if not all(isinstance(each, dict) for each in values):
            self.fault(event, "`<<` merges mappings only", "give it an alias of a mapping, or a list of them")
            return []
        return [(each, spot[2]) for each, spot in zip(values, spots, strict=True)]  # type: ignore[misc, arg-type]

    def alias(self, event: AliasEvent) -> tuple[Any, Below]:
        if event.anchor not in self.anchors:
            self.fault(event, f"the alias *{event.anchor} has no anchor before it", f"define &{event.anchor} above")
            return None, None
        anchored = self.anchors[event.anchor]
        if anchored is None:
            raise self.stop(event, f"the alias *{event.anchor} stands inside what it names", "spell the value out")
        self.descend(event, anchored.levels)
        self.size += anchored.size
        self.aliased += anchored.size
        if self.aliased > MAX_ALIASED:
            raise self.stop(event, f"aliases add more than {MAX_ALIASED:,} values", "spell the values out")
        return anchored.value, anchored.below

    def refuse_tag(self, event: Any) -> None:
        shown = event.tag.replace("tag:yaml.org,2002:", "!!")
        self.fault(event, f"the tag {shown} is not known here", "remove the tag")

    def fault(self, event: Any, message: str, remedy: str) -> None:
        mark = event.start_mark
        place = Place(self.file, mark.line + 1, mark.column + 1)
        self.problems.append(Problem(place, "", format_path(tuple(self.path)), message, remedy))
        if len(self.problems) == MAX_PROBLEMS:
            raise self.stop(event, f"has {MAX_PROBLEMS} problems, and is not read further", "mend those first")

    def stop(self, event: Any, message: str, remedy: str) -> Unreadable:
        return Unreadable(message, remedy, event.start_mark.line + 1, event.start_mark.column + 1)


def find_spot(spot: Spot, path: Path) -> tuple[int, int]:
    """Line and column (from 0) of the value at `path` below `spot`, or of its nearest parent that was written."""
    for step in path:
        found = spot_below(spot[2], step)
        if found is None:
            break
        spot = found
    return spot[0], spot[1]


def spot_below(below: Below, step: str | int) -> Spot | None:
    """The spot of one key or item, if it was written."""
    if below is None:
        return None
    if isinstance(below, list):
        return below[step] if isinstance(step, int) and 0 <= step < len(below) else None
    return below.get(step) if isinstance(step, str) else None
