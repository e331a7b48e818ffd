"""Which cgroup hierarchies this machine has mounted, and which of them holds each controller.

Read once from /proc/self/mountinfo. On a hybrid machine every controller lives where it was found: in a v1 hierarchy of
its own or shared with others, or in the unified one. Everything else of the package asks here and assumes no path.
Source: cgroups(7), kernel documents admin-guide/cgroup-v1 and admin-guide/cgroup-v2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path

from runtime.kernel.mountinfo import Mount, read_mountinfo

V1_CONTROLLERS = frozenset(
    {"cpu", "cpuacct", "cpuset", "memory", "blkio", "devices", "freezer", "pids"}
    | {"hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc"}
)
RENAMED_IN_V2 = {"blkio": "io", "cpuacct": "cpu"}
CORE_IN_V2 = frozenset({"devices", "freezer", "unified"})
"""What v2 does in every cgroup, with no controller to enable: BPF programs, `cgroup.freeze`, the core files."""


class Version(StrEnum):
    """How this machine mounts cgroups."""

    V1 = "v1"
    HYBRID = "hybrid"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Home:
    """Where one controller lives: its v1 name, the mount point, and whether version 1 or 2 rules there."""

    controller: str
    mount: str
    version: int

    def directory(self, path: str) -> str:
        return f"{self.mount}{path}"


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Mount points: one per v1 controller (several may share one), and the unified one with what it offers."""

    v1: Mapping[str, str] = field(default_factory=dict)
    unified: str | None = None
    unified_controllers: frozenset[str] = frozenset()

    @property
    def version(self) -> Version:
        if not self.v1:
            return Version.V2
        return Version.V1 if self.unified is None else Version.HYBRID

    def home(self, controller: str) -> Home | None:
        """Where `controller` (its v1 name) lives, or None where this machine does not have it."""
        if controller in self.v1:
            return Home(controller, self.v1[controller], 1)
        if self.unified is None:
            return None
        if controller in CORE_IN_V2 or RENAMED_IN_V2.get(controller, controller) in self.unified_controllers:
            return Home(controller, self.unified, 2)
        return None

    def homes(self, controllers: Iterable[str]) -> list[Home]:
        """The homes of those of `controllers` that exist, one for each mount point."""
        found = {home.mount: home for name in controllers if (home := self.home(name))}
        return list(found.values())

    def mounts(self) -> list[str]:
        """Every mount point once, the unified one last."""
        points = dict.fromkeys(self.v1.values())
        return [*points, self.unified] if self.unified else list(points)


class MissingHierarchies(OSError):
    """No cgroup file system is mounted here."""


@cache
def hierarchies() -> Hierarchies:
    """This machine's, read once per process. Raises MissingHierarchies where none is mounted."""
    v1, unified = find_mounts(read_mountinfo())
    if not v1 and unified is None:
        raise MissingHierarchies("no cgroup file system is mounted; mount cgroup2 at /sys/fs/cgroup")
    offered = frozenset(Path(unified, "cgroup.controllers").read_text().split()) if unified else frozenset()
    return Hierarchies(v1, unified, offered)


def detect() -> Version:
    """v1, hybrid (v1 controllers beside a unified tree), or v2."""
    return hierarchies().version


def find_mounts(mounts: Iterable[Mount]) -> tuple[dict[str, str], str | None]:
    """The mount point of each v1 controller, and that of the unified hierarchy."""
    v1: dict[str, str] = {}
    unified: str | None = None
    # a bind mount of a hierarchy somewhere else must not win over the customary place
    for mount in sorted(mounts, key=lambda mount: not mount.point.startswith("/sys/fs/cgroup")):
        if mount.fstype == "cgroup2":
            unified = unified or mount.point
        elif mount.fstype == "cgroup":
            for option in V1_CONTROLLERS.intersection(mount.super_options.split(",")):
                v1.setdefault(option, mount.point)
    return v1, unified
