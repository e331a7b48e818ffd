"""JSON that a stranger wrote: read whole or refused, with the field that is wrong.

Called by the readers of manifests, configs and archive lists. Bounded in bytes and depth; a key given twice is
refused, since two readers could understand it differently. Unknown keys are ignored, as the OCI image-spec demands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from schemas.errors import Refused

MAX_DEPTH = 32
_MAX_INTEGER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON object and where it stands, so that every complaint can name its field."""

    fields: Mapping[str, Any]
    place: str

    def text(self, key: str, default: str | None = None) -> str:
        """A string; without `default` it must be there. `null` counts as absent (Go writes it so)."""
        value = self.fields.get(key)
        if value is None:
            return default if default is not None else self.refuse(key, "is missing")
        return value if isinstance(value, str) else self.refuse(key, "is not a string")

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number from 0 to 2^63 - 1."""
        value = self.fields.get(key)
        if value is None:
            return default if default is not None else self.refuse(key, "is missing")
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_INTEGER:
            return self.refuse(key, "is not a whole number of 63 bits")
        return value

    def boolean(self, key: str) -> bool:
        value = self.fields.get(key)
        if value is None:
            return False
        return value if isinstance(value, bool) else self.refuse(key, "is not true or false")

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings; absent is empty."""
        value = self.fields.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            return self.refuse(key, "is not a list of strings")
        return tuple(value)

    def texts(self, key: str) -> dict[str, str]:
        """An object of strings (labels, annotations); absent is empty."""
        value = self.fields.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            return self.refuse(key, "is not an object of strings")
        return dict(value)

    def keys(self, key: str) -> tuple[str, ...]:
        """The keys of an object used as a set (`ExposedPorts`, `Volumes`); absent is empty."""
        value = self.fields.get(key)
        if value is None:
            return ()
        return tuple(value) if isinstance(value, dict) else self.refuse(key, "is not an object")

    def child(self, key: str) -> Document | None:
        value = self.fields.get(key)
        if value is None:
            return None
        return Document(value, f"{self.place} {key}") if isinstance(value, dict) else self.refuse(key, "is no object")

    def required(self, key: str) -> Document:
        return self.child(key) or self.refuse(key, "is missing")

    def children(self, key: str) -> tuple[Document, ...]:
        """A list of objects; absent is empty."""
        value = self.fields.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            return self.refuse(key, "is not a list of objects")
        return tuple(Document(item, f"{self.place} {key}[{index}]") for index, item in enumerate(value))

    def refuse(self, key: str, problem: str) -> NoReturn:
        raise Refused(f"{key!r} {problem}", object=self.place, step="read")


def read_document(content: bytes, place: str) -> Document:
    """`content` as one object; `place` names it in complaints. The caller bounds the bytes. Raises Refused."""
    value = read_json(content, place)
    if not isinstance(value, dict):
        raise Refused("is not a JSON object", object=place, step="read")
    return Document(value, place)


def read_documents(content: bytes, place: str) -> tuple[Document, ...]:
    """`content` as a list of objects (docker-archive's `manifest.json`)."""
    return Document({"list": read_json(content, place)}, place).children("list")


def read_json(content: bytes, place: str) -> Any:
    """A hostile document: no duplicate keys, no NaN, no depth. `place` names it in refusals. Raises Refused."""
    try:
        value = json.loads(content, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"is not sound JSON: {error}"[:300], object=place, step="read") from error
    if _depth(value) > MAX_DEPTH:
        raise Refused(f"is nested deeper than {MAX_DEPTH} levels", object=place, step="read")
    return value


def canonical_json(value: object) -> bytes:
    """The bytes that we give a document of our own: sorted, dense, UTF-8, so that equal content has an equal digest."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def without_empty(fields: Mapping[str, object]) -> dict[str, object]:
    """Leave out what is not set, as Go's `omitempty` does."""
    return {key: value for key, value in fields.items() if value not in (None, "", (), [], {}, 0, False)}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is given twice")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _depth(value: object) -> int:
    """Levels of nesting, without recursion of our own."""
    level, depth = [value], 0
    children: Callable[[Any], list[Any]] = lambda item: list(item.values()) if isinstance(item, dict) else item  # noqa: E731
    while level:
        depth += 1
        level = [child for item in level if isinstance(item, dict | list) for child in children(item)]
    return depth
