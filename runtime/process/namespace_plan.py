"""Which namespaces a container gets: new ones, joined ones, the host's own.

Pure but for opening the paths to join. Source: runtime-spec config-linux.md, "Namespaces".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from runtime.kernel import namespaces
from runtime.process.failure import ProcessFailed, step


@dataclass(frozen=True, slots=True)
class NamespacePlan:
    """The kinds made new, and the (kind, path) joined. What is in neither is the host's."""

    made: frozenset[str]
    joins: tuple[tuple[str, str], ...]

    @property
    def flags(self) -> int:
        """For clone3(2): all but the cgroup and the time namespace, which come at another moment."""
        # a cgroup namespace's root is the cgroup at its making: right only once init is in its own.
        # a time namespace's clocks are set before anybody is born into it
        return sum(namespaces.KINDS[kind][0] for kind in self.made - {"cgroup", "time"})

    def makes(self, kind: str) -> bool:
        """Whether the container gets a namespace of this kind of its own."""
        return kind in self.made

    def has(self, kind: str) -> bool:
        """Whether the container is in another namespace of this kind than the host, new or joined."""
        return kind in self.made or any(kind == joined for joined, _ in self.joins)


def plan_namespaces(spec: dict[str, Any]) -> NamespacePlan:
    """Read `linux.namespaces`; each kind at most once."""
    entries = (spec.get("linux") or {}).get("namespaces") or []
    kinds = [entry["type"] for entry in entries]
    unknown = [kind for kind in kinds if kind not in namespaces.KINDS]
    if unknown or len(set(kinds)) != len(kinds):
        raise ProcessFailed(f"unknown or repeated: {', '.join(unknown or kinds)}", step="namespaces")
    made = frozenset(entry["type"] for entry in entries if not entry.get("path"))
    if "mount" not in kinds:
        raise ProcessFailed("a container needs a mount namespace", step="namespaces")
    return NamespacePlan(made, tuple((entry["type"], entry["path"]) for entry in entries if entry.get("path")))


def join_all(joins: tuple[tuple[str, str], ...]) -> None:
    """setns(2) into each path; the user namespace last, since after it the host's rights are gone."""
    opened = []
    for kind, path in sorted(joins, key=lambda join: (join[0] == "user", join[0] == "mount")):
        with step(f"join {kind} namespace", path):
            opened.append((kind, path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
    for kind, path, descriptor in opened:
        with step(f"join {kind} namespace", path):
            namespaces.setns(descriptor, namespaces.KINDS[kind][0])
            os.close(descriptor)
