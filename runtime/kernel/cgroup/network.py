"""Marks on packets: `linux.resources.network`, v1's net_cls and net_prio. v2 has neither: asking for one is an error.

Sources: runtime-spec "Network"; kernel documents cgroup-v1/net_cls, cgroup-v1/net_prio.
"""

from __future__ import annotations

from typing import Any

from runtime.kernel.cgroup.files import Directory, Setting
from runtime.kernel.cgroup.section import Fields, Section


def class_settings(wanted: Fields, _: Directory, __: Fields) -> list[Setting]:
    """What to write for `linux.resources.network.classID` (v1 alone)."""
    return [Setting("net_cls", ("net_cls.classid",), str(value)) for value in wanted.values()]


def class_read(directory: Directory) -> dict[str, Any]:
    """The same field as it is."""
    number = directory.number("net_cls.classid")
    return {} if number is None else {"classID": number}


def class_complete(wanted: Fields, _: Directory) -> dict[str, Any]:
    """The wanted field as `class_read` will show it."""
    return {"classID": wanted.get("classID", 0)}


def priority_settings(wanted: Fields, _: Directory, observed: Fields) -> list[Setting]:
    """What to write for `linux.resources.network.priorities` (v1 alone)."""
    if "priorities" not in wanted:
        return []
    priorities = {entry["name"]: 0 for entry in observed.get("priorities", [])}
    priorities |= {entry["name"]: entry["priority"] for entry in wanted["priorities"]}
    return [Setting("net_prio", ("net_prio.ifpriomap",), f"{name} {value}") for name, value in priorities.items()]


def priority_read(directory: Directory) -> dict[str, Any]:
    """The same field as it is; links of priority 0 left out."""
    if directory.read("net_prio.ifpriomap") is None:
        return {}
    lines = sorted(directory.keyed("net_prio.ifpriomap").items())
    return {"priorities": [{"name": name, "priority": int(value)} for name, value in lines if value != "0"]}


def priority_complete(wanted: Fields, _: Directory) -> dict[str, Any]:
    """The wanted field as `priority_read` will show it."""
    entries = [dict(entry) for entry in wanted.get("priorities", []) if entry["priority"]]
    return {"priorities": sorted(entries, key=lambda entry: str(entry["name"]))}


NET_CLASS = Section("network", "net_cls", class_settings, class_read, class_complete, frozenset({"classID"}))
NET_PRIORITY = Section(
    "network", "net_prio", priority_settings, priority_read, priority_complete, frozenset({"priorities"})
)
