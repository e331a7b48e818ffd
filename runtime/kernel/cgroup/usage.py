"""What a cgroup uses now, and how often the kernel ran out of memory for it. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.kernel.cgroup.directories import directory_of
from runtime.kernel.cgroup.files import Directory, MissingController, children
from runtime.kernel.cgroup.memory import usage as memory_usage


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory in bytes (and how much of it is file cache that could go), processor time in nanoseconds, tasks, and how
    many processes were killed for want of memory.

    None where this machine has no controller that counts it.
    """

    memory: int | None
    cache: int | None
    cpu: int | None
    tasks: int | None
    oom_kills: int | None


def read_usage(path: str) -> Usage:
    """Raises FileNotFoundError when there is no such cgroup."""
    memory = _directory("memory", path)
    cpu = _directory("cpuacct", path) or _directory("unified", path)
    pids = _directory("pids", path)
    found = [directory for directory in (memory, cpu, pids) if directory]
    if not any(directory.exists() for directory in found):
        raise FileNotFoundError(2, "no such cgroup", path)
    return Usage(
        memory=memory_usage(memory) if memory else None,
        cache=_inactive_file(memory) if memory else None,
        cpu=_cpu_time(cpu) if cpu else None,
        tasks=pids.number("pids.current") if pids else None,
        oom_kills=oom_kills(path) if memory else None,
    )


def _directory(controller: str, path: str) -> Directory | None:
    try:
        return directory_of(controller, path)
    except MissingController:
        return None


def _inactive_file(directory: Directory) -> int:
    key = "total_inactive_file" if directory.version == 1 else "inactive_file"
    return int(directory.keyed("memory.stat").get(key, 0))


def _cpu_time(directory: Directory) -> int | None:
    if directory.version == 1:
        return directory.number("cpuacct.usage")
    used = directory.keyed("cpu.stat").get("usage_usec")
    return None if used is None else int(used) * 1000


def oom_kills(path: str) -> int:
    """How many processes, also below, the kernel killed for want of memory. 0 when there is no such cgroup."""
    directory = _directory("memory", path)
    if directory is None:
        return 0
    if directory.version == 2:
        return int(directory.keyed("memory.events").get("oom_kill", 0))
    return _oom_kills_v1(directory.path)


def _oom_kills_v1(directory: str) -> int:
    """v1 counts in the cgroup of the victim alone."""
    own = int(Directory(directory, 1).keyed("memory.oom_control").get("oom_kill", 0))
    return own + sum(_oom_kills_v1(child) for child in children(directory))
