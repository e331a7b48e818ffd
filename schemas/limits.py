"""Limits on what a container may use: the fields of a container that become its cgroup's files.

All but the ulimits' are changed in place. Only what contradicts itself is refused here; what the machine has, the
runtime finds out.

Source: Compose Specification, services; Docker's minima for memory; kernel documentation, cgroup-v1 and cgroup-v2.
"""

from typing import Annotated, Any, Self

from pydantic import model_validator

from schemas import units
from schemas.faults import Fault, refuse
from schemas.field import Spec, live, part, restart
from schemas.kernel_words import ULIMITS, Cpuset, read_ulimit_name
from schemas.paths import AbsoluteHostPath
from schemas.plain_types import BYTES, Bytes, read_whole, whole
from schemas.spelling import Spelling, pattern

LEAST_MEMORY = 6 * 2**20
"""Docker's minimum: with less, a container cannot even start."""


def read_cpu_quota(value: Any) -> int | None:
    """Microseconds; None for no limit. Raises ValueError with the remedy."""
    quota = units.read_microseconds(value)
    if quota in (0, -1):
        return None
    if quota < 1000:
        raise ValueError(f"{value!r} is too short; write at least 1000 microseconds, or -1 for no limit")
    return quota


def read_cpu_period(value: Any) -> int | None:
    """Microseconds; None for the kernel's default. Raises ValueError with the remedy."""
    period = units.read_microseconds(value)
    if period and not 1000 <= period <= 1_000_000:
        raise ValueError(f"{value!r} is out of range; write 1000 to 1000000 microseconds, as in 100ms")
    return period or None


def read_memory(value: Any) -> int | None:
    """A size of at least 6 MiB; None for 0, which means no limit."""
    size = units.read_bytes(value)
    if 0 < size < LEAST_MEMORY:
        raise ValueError(f"{value!r} is less than a container needs to start; write at least 6m")
    return size or None


def read_memory_and_swap(value: Any) -> int | None:
    """-1 for unlimited swap; None for 0, which Compose says to ignore."""
    return -1 if str(value).strip() == "-1" else units.read_bytes(value) or None


def read_pids(value: Any) -> int:
    """-1 for no limit, also where 0 is written."""
    return read_whole(value, -1, 2**22) or -1


def read_cpu_shares(value: Any) -> int | None:
    """cgroup v1's weight; None for the default. Raises ValueError with the remedy."""
    shares = read_whole(value, 0, 262144)
    if shares == 1:
        raise ValueError("1 is less than the scheduler knows; write 2 to 262144")
    return shares or None


def read_swappiness(value: Any) -> int | None:
    """Percent; None for the machine's own. Raises ValueError with the remedy."""
    swappiness = read_whole(value, -1, 100)
    return None if swappiness == -1 else swappiness


_COUNT = {"anyOf": [{"type": "integer"}, pattern(r"-?[0-9]+")]}
_SWAP = {"anyOf": [{"type": "integer", "minimum": -1}, pattern(f"-1|{units.SIZE_PATTERN}")]}
_TIME = {"anyOf": [{"type": "integer", "minimum": -1}, pattern(f"-?[0-9]+|{units.DURATION_PATTERN}")]}
Cpus = Annotated[float | None, Spelling(units.read_cpus, "number", {"type": ["number", "string"]}, final=True)]
CpuQuota = Annotated[int | None, Spelling(read_cpu_quota, "microseconds or duration", _TIME, final=True)]
CpuPeriod = Annotated[int | None, Spelling(read_cpu_period, "microseconds or duration", _TIME, final=True)]
CpuShares = Annotated[int | None, Spelling(read_cpu_shares, "integer", _COUNT, final=True)]
Memory = Annotated[int | None, Spelling(read_memory, "size", BYTES, final=True)]
MemoryAndSwap = Annotated[int | None, Spelling(read_memory_and_swap, "size", _SWAP, final=True)]
Swappiness = Annotated[int | None, Spelling(read_swappiness, "integer", _COUNT, final=True)]
Pids = Annotated[int, Spelling(read_pids, "integer", _COUNT, final=True)]
OomScore = Annotated[int, whole(-1000, 1000)]
Weight = Annotated[int, whole(10, 1000)]
Rate = Annotated[int, whole(1, 2**63 - 1)]


class WeightDevice(Spec):
    """The share of one block device."""

    path: Annotated[AbsoluteHostPath, part("Block device of the host.")]
    weight: Annotated[Weight, part("Share of its bandwidth, 10 to 1000.")]


class ByteRate(Spec):
    """Bytes a second on one block device."""

    path: Annotated[AbsoluteHostPath, part("Block device of the host.")]
    rate: Annotated[Bytes, part("Most it may move.", unit="bytes per second")]


class OperationRate(Spec):
    """Operations a second on one block device."""

    path: Annotated[AbsoluteHostPath, part("Block device of the host.")]
    rate: Annotated[Rate, part("Most it may do.", unit="operations per second")]


class BlkioConfig(Spec):
    """Shares and limits of block devices."""

    weight: Annotated[Weight | None, part("Share of bandwidth, 10 to 1000.", default="500")] = None
    weight_device: Annotated[tuple[WeightDevice, ...], part("Shares of single devices.")] = ()
    device_read_bps: Annotated[tuple[ByteRate, ...], part("Limits on reading, in bytes.")] = ()
    device_write_bps: Annotated[tuple[ByteRate, ...], part("Limits on writing, in bytes.")] = ()
    device_read_iops: Annotated[tuple[OperationRate, ...], part("Limits on reading, in operations.")] = ()
    device_write_iops: Annotated[tuple[OperationRate, ...], part("Limits on writing, in operations.")] = ()


class Ulimit(Spec):
    """One resource limit of setrlimit(2); -1 is unlimited."""

    soft: Annotated[Annotated[int, whole(-1, 2**63 - 1)], part("What counts until the program raises it.")]
    hard: Annotated[Annotated[int, whole(-1, 2**63 - 1)], part("How far the program may raise it.")]

    @model_validator(mode="after")
    def _soft_below_hard(self) -> Self:
        if self.hard != -1 and (self.soft == -1 or self.soft > self.hard):
            raise ValueError(f"soft {self.soft} is above hard {self.hard}; write soft at most {self.hard}")
        return self


def read_ulimits(value: Any) -> Any:
    """A number is both limits; names in lower case. Raises ValueError for unknown names."""
    if not isinstance(value, dict):
        raise ValueError("is no map; write NAME: NUMBER, as in nofile: 65536")
    faults: list[Fault] = []
    found: dict[str, Any] = {}
    for name, limit in value.items():
        try:
            alone = not isinstance(limit, dict | Ulimit)
            found[read_ulimit_name(name)] = {"soft": limit, "hard": limit} if alone else limit
        except ValueError as error:
            faults.append(((str(name),), str(error)))
    refuse("ulimits", faults)
    return found


_NUMBER = {"anyOf": [{"type": "integer", "minimum": -1}, pattern("-1|[0-9]+")]}
Ulimits = Annotated[
    dict[str, Ulimit],
    Spelling(read_ulimits, "map of limit", values=_NUMBER, keys={"enum": [*ULIMITS, *map(str.upper, ULIMITS)]}),
]


class LimitFields(Spec):
    """The fields of a container that limit what it uses."""

    cpus: Annotated[Cpus, live("Processors it may keep busy; 0 is no limit.", default="no limit")] = None
    cpu_shares: Annotated[CpuShares, live("Weight against other containers when all are busy.", default="1024")] = None
    cpu_quota: Annotated[CpuQuota, live("Time it may run in each period.", unit="microseconds", default="no limit")] = (
        None
    )
    cpu_period: Annotated[CpuPeriod, live("Length of a period.", unit="microseconds", default="100000")] = None
    cpuset: Annotated[Cpuset | None, live("Processors it may run on, as 0-3 or 0,2.", default="all")] = None
    mem_limit: Annotated[Memory, live("Memory it may use; 0 is no limit.", unit="bytes", default="no limit")] = None
    memswap_limit: Annotated[
        MemoryAndSwap, live("Memory and swap together; -1 is unlimited swap.", unit="bytes", default="twice mem_limit")
    ] = None
    mem_reservation: Annotated[
        Memory, live("Memory it keeps when the host runs short.", unit="bytes", default="none")
    ] = None
    mem_swappiness: Annotated[
        Swappiness, live("How readily its memory is swapped out, 0 to 100.", unit="percent", default="the kernel's")
    ] = None
    oom_score_adj: Annotated[
        OomScore | None, live("Likelihood to be killed when memory runs out, -1000 to 1000.", default="0")
    ] = None
    pids_limit: Annotated[Pids | None, live("Processes and threads; -1 is no limit.", default="4096")] = None
    blkio_config: Annotated[BlkioConfig | None, live("Shares and limits of block devices.")] = None
    ulimits: Annotated[Ulimits, restart("Resource limits of its processes: a number, or soft and hard.")] = {}

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        refuse("limits", limit_faults(self))
        return self


def limit_faults(spec: LimitFields) -> list[Fault]:
    """What contradicts itself, in Docker's words where it has some."""
    faults: list[Fault] = []
    if spec.cpus is not None and (spec.cpu_quota is not None or spec.cpu_period is not None):
        faults.append((("cpus",), "says the same as cpu_quota and cpu_period; keep cpus alone, or these two"))
    if spec.mem_limit is None and spec.memswap_limit not in (None, -1):
        faults.append((("memswap_limit",), "counts memory and swap together; write mem_limit too"))
    if spec.mem_limit and spec.memswap_limit and 0 < spec.memswap_limit < spec.mem_limit:
        faults.append((("memswap_limit",), "is less than mem_limit, which it includes; write at least as much"))
    if spec.mem_limit and spec.mem_reservation and spec.mem_reservation > spec.mem_limit:
        faults.append((("mem_reservation",), "is more than mem_limit; write at most as much"))
    return faults
