"""Resource limits of a process, by name, and a plain word where the machine forbids a higher one.

Source: getrlimit(2), prlimit(2). Decides no limits.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.kernel import capabilities

UNLIMITED = resource.RLIM_INFINITY
FIRST_USER_NAMESPACE = 0xEFFFFFFD
"""Its inode, the same on every machine (PROC_USER_INIT_INO)."""

NUMBERS: dict[str, int] = {
    "as": resource.RLIMIT_AS,
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,  # obsolete, and not named by Python
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}


@dataclass(frozen=True, slots=True)
class Limit:
    """Soft and hard limit in the resource's own unit; UNLIMITED is none."""

    soft: int
    hard: int


class UnknownLimit(ValueError):
    """Not the name of a resource limit."""


class HardLimitForbidden(PermissionError):
    """The hard limit is higher than this machine lets the process have; `maximum` is what it may have."""

    def __init__(self, name: str, wanted: int, maximum: int) -> None:
        self.name, self.wanted, self.maximum = name, wanted, maximum
        super().__init__(
            errno.EPERM,
            f"the hard limit of {name} cannot be raised to {_text(wanted)}: {_cause(name, wanted)};"
            f" at most {_text(maximum)} here",
        )


def _cause(name: str, wanted: int) -> str:
    if name == "nofile" and (wanted == UNLIMITED or wanted > _most_files()):
        return "it is above the sysctl fs.nr_open"
    return "this process lacks CAP_SYS_RESOURCE"


def _text(number: int) -> str:
    return "unlimited" if number == UNLIMITED else str(number)


def _most_files() -> int:
    return int(Path("/proc/sys/fs/nr_open").read_text())


def number_of(name: str) -> int:
    """`nofile` and `RLIMIT_NOFILE` alike. Raises UnknownLimit."""
    short = name.lower().removeprefix("rlimit_")
    if short not in NUMBERS:
        raise UnknownLimit(f"{name!r} is not a resource limit")
    return NUMBERS[short]


def read_limit(name: str, pid: int = 0) -> Limit:
    """Of a process; 0 is the caller."""
    return Limit(*resource.prlimit(pid, number_of(name)))


def set_limit(name: str, limit: Limit, pid: int = 0) -> None:
    """Raises HardLimitForbidden, UnknownLimit, ProcessLookupError, OSError(EINVAL) for a soft limit above the hard."""
    number = number_of(name)
    try:
        resource.prlimit(pid, number, (limit.soft, limit.hard))
    except (ValueError, PermissionError) as error:
        # Python tells EINVAL and EPERM of prlimit(2) as a ValueError
        maximum = read_limit(name, pid).hard
        if _above(limit.soft, limit.hard):
            raise OSError(errno.EINVAL, f"the soft limit of {name} is above the hard one", name) from error
        if not _above(limit.hard, maximum):
            raise
        raise HardLimitForbidden(name.lower().removeprefix("rlimit_"), limit.hard, maximum) from None


def apply(limits: Iterable[Mapping[str, Any]], pid: int = 0) -> None:
    """OCI `process.rlimits`: `[{type: RLIMIT_NOFILE, soft: 1024, hard: 4096}]`."""
    for entry in limits:
        set_limit(entry["type"], Limit(_signed(entry["soft"]), _signed(entry["hard"])), pid)


def can_raise() -> bool:
    """Whether the caller may raise hard limits: CAP_SYS_RESOURCE counts in the machine's first user namespace alone."""
    effective, _, _ = capabilities.capget()
    first = Path("/proc/self/ns/user").stat().st_ino == FIRST_USER_NAMESPACE
    return first and bool(effective >> capabilities.NUMBERS["CAP_SYS_RESOURCE"] & 1)


def _signed(number: int) -> int:
    """Configurations write "unlimited" as the largest unsigned number too."""
    return UNLIMITED if number >= 2**64 - 1 or number == -1 else number


def _above(one: int, other: int) -> bool:
    if other == UNLIMITED:
        return False
    return one == UNLIMITED or one > other
