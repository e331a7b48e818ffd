"""What every part of `linux.resources` provides: the values to write, what the files say, and the full form of a wish.

A section's functions get a `Directory` and never a path; they read, and return settings for others to write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.kernel.cgroup.files import Directory, Setting

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """One controller's share of `linux.resources`, in the fields of runtime-spec.

    `settings(wanted, directory, observed)` turns the wanted fields into values to write; `observed` is what `read`
    said before (empty for a new cgroup), for what can only be written as a whole and for lists whose lost entries are
    reset. `complete(wanted, directory)` is what `read` would say once `wanted` is written in a new cgroup: rounded,
    clamped and converted as the kernel does, defaults included.
    """

    key: str
    controller: str
    settings: Callable[[Fields, Directory, Fields], list[Setting]]
    read: Callable[[Directory], dict[str, Any]]
    complete: Callable[[Fields, Directory], dict[str, Any]]
    fields: frozenset[str] = frozenset()
    """Which fields of `key` are this controller's; empty for all."""

    def of(self, resources: Fields) -> dict[str, Any]:
        """This section's fields of a `linux.resources`. A list is the one field named as its key."""
        value = resources.get(self.key)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or self.key in ("rdma", "unified"):
            return {self.key: value}
        return {name: item for name, item in value.items() if not self.fields or name in self.fields}
