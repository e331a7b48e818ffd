"""What stands around every `spec`: apiVersion, kind, metadata; and the object that comes of it.

`Declared` is what the rest of trimtab knows of a manifest: its key, its metadata, its canonical spec, and where every
field of it was written. Made by `load`, read by `check` and the planner. Knows no kind in particular.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.as_written import as_written
from schemas.errors import Place, Problem
from schemas.field_path import Path, format_path
from schemas.names import Key
from schemas.yaml_text import Spot, find_spot

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Metadata:
    """The name, and what people and tools note beside it."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where an object came from: `shop/db.yaml:12`, the set it was applied with, the commit if it came from git."""

    file: str
    line: int
    set: str = ""
    commit: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Declared:
    """One object as its manifest declares it. Two of them are equal when they want the same from the same place.

    `spec` is canonical, `written` is what stood in the manifest, and `spot` says where.
    """

    key: Key
    metadata: Metadata
    spec: BaseModel
    origin: Origin
    spot: Spot = field(default=(0, 0, None), repr=False, compare=False)
    written: Any = field(default=None, repr=False, compare=False)

    def place(self, path: Path = ()) -> Place:
        """File, line and column of a field of the canonical spec, as `("spec", "ports", 0)`, where it was written.

        That of the nearest parent where the field itself was not written, or was written in a form of its own.
        """
        line, column = find_spot(self.spot, as_written(path, self.written, self.spec))
        return Place(self.origin.file, line + 1, column + 1)

    def problem(self, path: Path, message: str, remedy: str) -> Problem:
        """A problem of the field at `path`, at its place."""
        return Problem(self.place(path), str(self.key), format_path(path), message, remedy)
