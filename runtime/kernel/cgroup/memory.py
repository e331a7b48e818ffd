"""Memory limits: `linux.resources.memory`.

Values are bytes; -1 is no limit and 0 is not set. OCI's `swap` is memory and swap together, which v1 keeps in one file
and v2 as swap alone. Sources: runtime-spec "Memory"; kernel documents cgroup-v1/memory and cgroup-v2 "Memory".
"""

from __future__ import annotations

import errno
import mmap
from typing import Any

from runtime.kernel.cgroup.files import UNLIMITED, BadResources, Directory, Setting, limit_text
from runtime.kernel.cgroup.section import Fields, Section


def settings(wanted: Fields, directory: Directory, observed: Fields) -> list[Setting]:
    """Raises BadResources for limits that contradict each other, and OSError(EBUSY) for `checkBeforeUpdate`."""
    limit, total = _limits(wanted)
    if wanted.get("useHierarchy") is False:
        raise BadResources("memory.useHierarchy: no kernel since 5.11 counts without the cgroups below")
    if wanted.get("checkBeforeUpdate") and limit:
        _check_usage(limit, directory)
    if directory.version == 1:
        return _settings_v1(wanted, limit, total)
    return _settings_v2(wanted, limit, total, observed)


def _limits(wanted: Fields) -> tuple[int | None, int | None]:
    """Memory, and memory with swap. No memory limit also means no swap limit, unless one is named."""
    limit = wanted.get("limit") or None
    total = wanted.get("swap") or None
    if limit == UNLIMITED and total is None:
        return UNLIMITED, UNLIMITED
    if limit is not None and total is not None and total > UNLIMITED and not UNLIMITED < limit <= total:
        raise BadResources(f"memory.swap ({total}) counts memory too: it must not be below memory.limit ({limit})")
    return limit, total


def _check_usage(limit: int, directory: Directory) -> None:
    used = usage(directory)
    if UNLIMITED < limit < used:
        raise OSError(errno.EBUSY, f"memory.limit {limit} is below what is used already ({used})", directory.path)


def usage(directory: Directory) -> int:
    """Bytes charged now."""
    return directory.number("memory.usage_in_bytes" if directory.version == 1 else "memory.current") or 0


def _settings_v1(wanted: Fields, limit: int | None, total: int | None) -> list[Setting]:
    pairs = {
        "memory.limit_in_bytes": limit,
        "memory.memsw.limit_in_bytes": total,
        "memory.soft_limit_in_bytes": wanted.get("reservation") or None,
        "memory.kmem.limit_in_bytes": wanted.get("kernel") or None,
        "memory.kmem.tcp.limit_in_bytes": wanted.get("kernelTCP") or None,
        "memory.swappiness": wanted.get("swappiness"),
        "memory.oom_control": int(wanted["disableOOMKiller"]) if "disableOOMKiller" in wanted else None,
    }
    return [
        Setting("memory", (name,), limit_text(value, 1), optional=value == UNLIMITED)
        for name, value in pairs.items()
        if value is not None
    ]


def _settings_v2(wanted: Fields, limit: int | None, total: int | None, observed: Fields) -> list[Setting]:
    made: list[Setting] = []
    if total is not None:
        memory = limit if limit is not None else observed.get("limit")
        made.append(Setting("memory", ("memory.swap.max",), _swap_text(memory, total), optional=total == UNLIMITED))
    if limit is not None:
        made.append(Setting("memory", ("memory.max",), limit_text(limit, 2)))
    if reservation := wanted.get("reservation"):
        made.append(Setting("memory", ("memory.low",), str(max(reservation, 0))))
    # files that v2 never had: a wish that differs from what v2 does is refused where it is written
    if "swappiness" in wanted:
        made.append(Setting("memory", ("memory.swappiness",), str(wanted["swappiness"])))
    if wanted.get("disableOOMKiller"):
        made.append(Setting("memory", ("memory.oom_control",), "1"))
    for name, file in (("kernel", "memory.kmem.limit_in_bytes"), ("kernelTCP", "memory.kmem.tcp.limit_in_bytes")):
        if wanted.get(name, UNLIMITED) > 0:
            made.append(Setting("memory", (file,), str(wanted[name])))
    return made


def _swap_text(memory: int | None, total: int) -> str:
    if total == UNLIMITED:
        return "max"
    if memory is None or memory == UNLIMITED:
        raise BadResources(f"memory.swap ({total}) counts memory too: it needs a memory.limit")
    if total < memory:
        raise BadResources(f"memory.swap ({total}) counts memory too: it must not be below memory.limit ({memory})")
    return str(total - memory)


def read(directory: Directory) -> dict[str, Any]:
    """The fields of `linux.resources.memory` as they are; bytes."""
    return _read_v1(directory) if directory.version == 1 else _read_v2(directory)


def _read_v1(directory: Directory) -> dict[str, Any]:
    disabled = directory.keyed("memory.oom_control").get("oom_kill_disable")
    found = {
        "limit": directory.number("memory.limit_in_bytes"),
        "swap": directory.number("memory.memsw.limit_in_bytes"),
        "reservation": directory.number("memory.soft_limit_in_bytes"),
        "kernelTCP": directory.number("memory.kmem.tcp.limit_in_bytes"),
        "swappiness": directory.number("memory.swappiness"),
        "disableOOMKiller": None if disabled is None else disabled == "1",
    }
    return {name: value for name, value in found.items() if value is not None}


def _read_v2(directory: Directory) -> dict[str, Any]:
    limit, swap, low = (directory.number(f"memory.{name}") for name in ("max", "swap.max", "low"))
    if limit is None:
        return {}
    found: dict[str, Any] = {"limit": limit, "reservation": low or UNLIMITED}
    if swap is not None:
        found["swap"] = swap if swap == UNLIMITED else swap + max(limit, 0)
    return found


def complete(wanted: Fields, directory: Directory) -> dict[str, Any]:
    """The wanted fields as `read` will show them: whole pages, defaults filled in."""
    limit, total = _limits(wanted)
    full: dict[str, Any] = {
        "limit": _whole_pages(limit),
        "swap": _whole_pages(total),
        "reservation": _whole_pages(wanted.get("reservation") or None),
        "disableOOMKiller": False,
    }
    for name in ("swappiness", "disableOOMKiller"):
        if name in wanted:
            full[name] = wanted[name]
    if wanted.get("kernelTCP"):
        full["kernelTCP"] = _whole_pages(wanted["kernelTCP"])
    if directory.version == 2 and not full["disableOOMKiller"]:
        del full["disableOOMKiller"]
    return full


def _whole_pages(number: int | None) -> int:
    """The kernel counts whole pages and rounds down."""
    return UNLIMITED if number is None or number < 0 else number // mmap.PAGESIZE * mmap.PAGESIZE


MEMORY = Section("memory", "memory", settings, read, complete)
