"""The two sides of a comparison, in one shape for all kinds: what is wanted, and what was found.

Pure values of JSON-like data. `fields` come from the manifest and are compared with those recorded when the object was
made; `facts` are what the manifest implies about kernel and disk, and are compared with what is read from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.envelope import Declared
from schemas.errors import Place
from schemas.field_path import Path
from schemas.names import Key


@dataclass(frozen=True, slots=True)
class Desired:
    """One object as wanted. `owner`: the Service a replica belongs to. `needs`: what must stand before it; `optional`:
    those of them that may fail; `joins`: the containers among them whose namespaces it enters. `notes`: what of the
    manifest does not reach as far as its author may think."""

    key: Key
    fields: Mapping[str, Any]
    facts: Mapping[str, Any]
    needs: tuple[Key, ...] = ()
    optional: frozenset[Key] = frozenset()
    joins: frozenset[Key] = frozenset()
    owner: Key | None = None
    declared: Declared | None = None
    secret: bool = False
    notes: tuple[str, ...] = ()

    @property
    def place(self) -> Place | None:
        return self.declared.place(()) if self.declared is not None else None

    def place_of(self, path: Path) -> Place | None:
        """Where the manifest says the field at `path`."""
        return self.declared.place(path) if self.declared is not None else None


@dataclass(frozen=True, slots=True)
class Observed:
    """One object as found. `fields` and `asked` are its record (None: the record is lost); `facts` come from kernel
    and disk. `held`: its process ended, and its restart policy does not start it again, or not yet."""

    key: Key
    fields: Mapping[str, Any] | None
    facts: Mapping[str, Any]
    asked: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[Key, ...] = ()
    owner: Key | None = None
    held: bool = False
