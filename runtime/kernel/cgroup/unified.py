"""v2 files named as they are: `linux.resources.unified`. A machine whose controllers are v1's refuses it.

Only limits: the files that move, kill or freeze processes and those that delegate are not a manifest's to write.
Source: runtime-spec "Unified".
"""

from __future__ import annotations

import re

from runtime.kernel.cgroup.files import BadResources, Directory, Setting
from runtime.kernel.cgroup.section import Fields

NAME = re.compile(r"([a-z]+)\.[A-Za-z0-9_.]+")
CORE_LIMITS = frozenset({"cgroup.max.depth", "cgroup.max.descendants"})


def controllers(wanted: Fields) -> set[str]:
    """Which v2 controllers these files belong to."""
    return {_controller(name) for name in wanted if name not in CORE_LIMITS}


def _controller(name: str) -> str:
    match = NAME.fullmatch(name)
    if match is None or match[1] == "cgroup":
        raise BadResources(f"linux.resources.unified.{name}: not the name of a limit")
    return match[1]


def settings(wanted: Fields) -> list[Setting]:
    """One write for each line, as the kernel takes them."""
    controllers(wanted)
    return [
        Setting("unified", (name,), line) for name, text in wanted.items() for line in str(text).splitlines() or [""]
    ]


def differs(directory: Directory, name: str, text: str) -> str | None:
    """The file's text where it does not say what `text` does; None where it does.

    A line of a nested keyed file says more than what was written: every word of ours must stand in one of its lines.
    """
    found = directory.read(name)
    lines = [set(line.split()) for line in (found or "").splitlines()]
    if all(any(set(wanted.split()) <= line for line in lines) for wanted in str(text).splitlines()):
        return None
    return found or ""
