"""How many tasks: `linux.resources.pids`. -1 is no limit; 0 is a limit (no new task at all), as runtime-spec says."""

from __future__ import annotations

from typing import Any

from runtime.kernel.cgroup.files import UNLIMITED, Directory, Setting
from runtime.kernel.cgroup.section import Fields, Section


def settings(wanted: Fields, _: Directory, __: Fields) -> list[Setting]:
    """What to write for `linux.resources.pids`; negative: no limit."""
    if "limit" not in wanted:
        return []
    limit = wanted["limit"]
    return [Setting("pids", ("pids.max",), str(limit) if limit >= 0 else "max")]


def read(directory: Directory) -> dict[str, Any]:
    """The same field as it is."""
    limit = directory.number("pids.max")
    return {} if limit is None else {"limit": limit}


def complete(wanted: Fields, _: Directory) -> dict[str, Any]:
    """The wanted field as `read` will show it."""
    return {"limit": max(wanted.get("limit", UNLIMITED), UNLIMITED)}


PIDS = Section("pids", "pids", settings, read, complete)
