"""The shape of OCI `linux.resources`: every key we know, and a refusal of every other.

Pure. Source: runtime-spec 1.3, config-linux.md, "Control groups".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.kernel.cgroup.files import BadResources

Resources = Mapping[str, Any]

OBJECTS = {
    "memory": frozenset(
        {"limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness"}
        | {"disableOOMKiller", "useHierarchy", "checkBeforeUpdate"}
    ),
    "cpu": frozenset(
        {"shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems", "idle"}
    ),
    "pids": frozenset({"limit"}),
    "blockIO": frozenset(
        {"weight", "leafWeight", "weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice"}
        | {"throttleReadIOPSDevice", "throttleWriteIOPSDevice"}
    ),
    "network": frozenset({"classID", "priorities"}),
}
LISTS = {
    "devices": frozenset({"allow", "type", "major", "minor", "access"}),
    "hugepageLimits": frozenset({"pageSize", "limit"}),
}
MAPS = frozenset({"rdma", "unified"})
ENTRIES = {
    "weightDevice": frozenset({"major", "minor", "weight", "leafWeight"}),
    "throttleReadBpsDevice": frozenset({"major", "minor", "rate"}),
    "throttleWriteBpsDevice": frozenset({"major", "minor", "rate"}),
    "throttleReadIOPSDevice": frozenset({"major", "minor", "rate"}),
    "throttleWriteIOPSDevice": frozenset({"major", "minor", "rate"}),
    "priorities": frozenset({"name", "priority"}),
}
TEXTS = frozenset({"cpus", "mems"})
FLAGS = frozenset({"disableOOMKiller", "useHierarchy", "checkBeforeUpdate"})


def checked(resources: Resources) -> dict[str, Any]:
    """The same without absent (None) values. Raises BadResources for what runtime-spec does not know."""
    return {key: _section(key, value) for key, value in resources.items() if value is not None}


def _section(key: str, value: Any) -> Any:
    if key in OBJECTS:
        fields = _object(key, value, OBJECTS[key])
        return {name: _field(f"{key}.{name}", name, item) for name, item in fields.items()}
    if key in LISTS:
        return _entries(key, value, LISTS[key])
    if key in MAPS:
        if not isinstance(value, Mapping):
            raise BadResources(f"linux.resources.{key}: not an object")
        return dict(value)
    raise BadResources(f"linux.resources.{key}: unknown")


def _field(place: str, name: str, value: Any) -> Any:
    if name in ENTRIES:
        return _entries(place, value, ENTRIES[name])
    wanted = str if name in TEXTS else bool if name in FLAGS else int
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise BadResources(f"linux.resources.{place}: {value!r} is not of type {wanted.__name__}")
    return value


def _entries(place: str, value: Any, known: frozenset[str]) -> list[dict[str, Any]]:
    if not isinstance(value, (list, tuple)):
        raise BadResources(f"linux.resources.{place}: not a list")
    return [_object(f"{place}[{index}]", entry, known) for index, entry in enumerate(value)]


def _object(place: str, value: Any, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise BadResources(f"linux.resources.{place}: not an object")
    for name in value:
        if name not in known:
            raise BadResources(f"linux.resources.{place}.{name}: unknown")
    return {name: item for name, item in value.items() if item is not None}
