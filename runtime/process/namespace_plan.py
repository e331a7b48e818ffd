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
    """`flags` go to clone3(2); `joins` are (kind, path); a cgroup namespace and a time namespace come separately."""

    flags: int
    joins: tuple[tuple[str, str], ...]
    cgroup: bool
    time: bool

    def makes(self, flag: int) -> bool:
        """Whether the container gets a new namespace of this clone flag."""
        return bool(self.flags & flag)


def plan_namespaces(spec: dict[str, Any]) -> NamespacePlan:
    """Read `linux.namespaces`; each kind at most once."""
    entries = (spec.get("linux") or {}).get("namespaces") or []
    kinds = [entry["type"] for entry in entries]
    unknown = [kind for kind in kinds if kind not in namespaces.KINDS]
    if unknown or len(set(kinds)) != len(kinds):
        raise ProcessFailed(f"unknown or repeated: {', '.join(unknown or kinds)}", step="namespaces")
    made = {entry["type"] for entry in entries if not entry.get("path")}
    joins = tuple((entry["type"], entry["path"]) for entry in entries if entry.get("path"))
    # the root of a cgroup namespace is the cgroup at its making, which is only right once init is in its own
    flags = sum(namespaces.KINDS[kind][0] for kind in made - {"cgroup", "time"})
    return NamespacePlan(flags, joins, "cgroup" in made, "time" in made)


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
