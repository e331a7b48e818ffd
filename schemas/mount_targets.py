"""Paths of a container that the engine itself fills, and what may be mounted over them.

Called by the spec's model. `/proc` belongs to the kernel: a mount over it would hide what is masked there, or show a
stranger's; only the files that lxcfs stands in for may be covered, as with runc. `/sys` and `/dev` may be covered by a
privileged container, as with Docker; by others only where nothing of the engine's own is lost.
"""

from __future__ import annotations

PROC_FILES = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "net/dev",
        "slabinfo",
        "stat",
        "swaps",
        "sys/crypto/fips_enabled",
        "sys/kernel/ns_last_pid",
        "uptime",
    )
)
"""What lxcfs imitates, and two files of sysctl (runc, libcontainer, checkProcMount)."""

OWN_DEVICES = frozenset(
    f"/dev/{name}"
    for name in (
        "console",
        "fd",
        "full",
        "null",
        "ptmx",
        "pts",
        "random",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    )
)
"""What every container finds in /dev (runtime-spec, config-linux.md, Default Devices)."""

CGROUPS = "/sys/fs/cgroup"


def objection(target: str, *, read_only: bool, privileged: bool) -> str | None:
    """Why nothing may be mounted at `target`, and what to write instead; None where something may."""
    if is_below(target, "/proc"):
        if target in PROC_FILES:
            return None
        return f"{target} belongs to the kernel; mount it elsewhere, as at /host{target}"
    if privileged:
        return None
    if is_below(target, CGROUPS):
        return None if read_only else f"{target} can only be covered read-only; add :ro, or mount it elsewhere"
    if is_below(target, "/sys"):
        return f"{target} belongs to the kernel; mount it elsewhere, as at /host{target}"
    if target == "/dev":
        return "/dev holds the container's own devices; mount what you need below it, or name it in devices"
    if any(is_below(target, own) for own in OWN_DEVICES):
        return f"{target} is the container's own; mount it elsewhere"
    return None


def is_below(target: str, directory: str) -> bool:
    """Whether `target` is `directory` or something in it; both in their shortest form."""
    return target == directory or target.startswith(f"{directory}/")
