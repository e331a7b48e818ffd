"""What is mounted where: /proc/PID/mountinfo (proc_pid_mountinfo(5)), of the caller's mount namespace by default."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line. `root`: the mounted directory within its file system; `options`: the mount's own."""

    id: int
    device: str
    root: str
    point: str
    options: str
    fstype: str
    source: str
    super_options: str


def read_mountinfo(pid: int | str = "thread-self") -> tuple[Mount, ...]:
    """Every mount, in the order in which they were made: of several on one point the last is seen."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return tuple(parse_line(line) for line in file)


def parse_line(line: str) -> Mount:
    """One line of mountinfo."""
    fields = line.rstrip("\n").split(" ")
    dash = fields.index("-", 6)
    number, _, device, root, point, options = fields[:6]
    fstype, source, super_options = fields[dash + 1 : dash + 4]
    return Mount(int(number), device, _text(root), _text(point), options, fstype, _text(source), _text(super_options))


def top_mount(mounts: Iterable[Mount], point: str) -> Mount | None:
    """What is seen at `point`, an absolute path without symlinks; None where nothing is mounted on it."""
    found = None
    for mount in mounts:
        if mount.point == point:
            found = mount
    return found


def mounts_below(mounts: Iterable[Mount], directory: str) -> tuple[Mount, ...]:
    """Everything mounted on `directory` or below it."""
    inside = directory.rstrip("/") + "/"
    return tuple(mount for mount in mounts if mount.point == directory or mount.point.startswith(inside))


def _text(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field) if "\\" in field else field
