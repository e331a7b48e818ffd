"""The ways a value may be spelled, and how each becomes the one canonical value.

A `Spelling` annotates a type with a reader (`"64m"` -> 67108864) and with the JSON Schema of what it reads, so
that models, JSON Schemas and docs cannot drift apart. A `Bag` is a list whose order means nothing: it keeps the
order for messages, ignores it when compared, and is dumped sorted. Which values exist is said in the modules that
use these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WrapSerializer
from pydantic_core import CoreSchema, core_schema
from pydantic_core.core_schema import SerializerFunctionWrapHandler

T = TypeVar("T")

VARIABLE = r"\$[{A-Za-z_]"
"""Pattern of text that still holds a variable: an editor must not judge it before it is filled in."""


@dataclass(frozen=True, slots=True, eq=False)
class Spelling:
    """`read` makes the canonical value of any spelling, or raises ValueError saying what to write instead.

    With `final`, what `read` returns is the value; otherwise the annotated type validates it further. `schema` (JSON
    Schema) then describes only the spellings beside that type's own, as `items` does for those of a list's items,
    `values` for those of a map's values; `keys` are the names a map may hold.
    """

    read: Callable[[Any], Any]
    says: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    items: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)
    final: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if self.final:
            return core_schema.no_info_plain_validator_function(self.read)
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        if self.final:
            return dict(self.schema)
        longer = dict(handler(schema))
        for keyword, shorter in (("items", self.items), ("additionalProperties", self.values)):
            if shorter:
                longer[keyword] = {"anyOf": [longer[keyword], dict(shorter)]}
        if self.keys:
            longer["propertyNames"] = dict(self.keys)
        return {"anyOf": [longer, dict(self.schema)]} if self.schema else longer


class Bag(tuple[T, ...]):
    """A list whose order means nothing: kept for messages, ignored by `==`, dumped sorted."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and len(self) == len(other) and Counter(self) == Counter(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(frozenset(self))


def _dump_sorted(value: Any, handler: SerializerFunctionWrapHandler) -> list[Any]:
    return sorted(handler(value), key=repr)


INTO_BAG = AfterValidator(Bag)
SORTED = WrapSerializer(_dump_sorted)
"""Annotations of a list whose order means nothing."""


def given(*names: str) -> dict[str, Any]:
    """JSON Schema of a map in which all of `names` are set; null and an empty list are not."""
    unset = {"anyOf": [{"type": "null"}, {"type": "array", "maxItems": 0}]}
    return {"required": list(names), "properties": {name: {"not": unset} for name in names}}


def exactly_one(*names: str) -> dict[str, Any]:
    """JSON Schema of a map in which one of `names` is set, and no other of them."""
    return {"oneOf": [given(name) for name in names]}


def not_together(first: str, *others: str) -> list[Any]:
    """JSON Schemas that refuse `first` beside any of `others`."""
    return [{"not": given(first, other)} for other in others]


def pattern(text: str) -> dict[str, Any]:
    """JSON Schema of a string that is `text` (a regular expression, unanchored) as a whole, or holds a variable."""
    return {"type": "string", "pattern": f"^(?:{text})$|{VARIABLE}"}
