"""Processor time and processor sets: `linux.resources.cpu`, which two controllers share.

Shares are v1's (2..262144, default 1024); quota, burst and periods are microseconds. Shares become v2's weight by the
curve runc (1.3.2) and crun (1.23) use: quadratic in the logarithm, through the lowest, the default and the highest of
both ranges. Sources: runtime-spec "CPU"; kernel documents scheduler/sched-bwc, cgroup-v1/cpusets, cgroup-v2 "CPU".
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from typing import Any

from runtime.kernel.cgroup.files import UNLIMITED, BadResources, Directory, Setting, children, read_file, write_file
from runtime.kernel.cgroup.section import Fields, Section

LEAST_SHARES, DEFAULT_SHARES, MOST_SHARES = 2, 1024, 262_144
LEAST_WEIGHT, MOST_WEIGHT = 1, 10_000
DEFAULT_PERIOD = 100_000
DEFAULT_REALTIME_PERIOD = 1_000_000
RUNTIME = "cpu.rt_runtime_us"
SPAN = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
CPU_FIELDS = frozenset({"shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "idle"})
CPUSET_FIELDS = frozenset({"cpus", "mems"})


def shares_to_weight(shares: int) -> int:
    """v2's weight (1..10000) for v1's shares: 2 -> 1, 1024 -> 100, 262144 -> 10000."""
    if shares <= LEAST_SHARES:
        return LEAST_WEIGHT
    if shares >= MOST_SHARES:
        return MOST_WEIGHT
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def weight_to_shares(weight: int) -> int:
    """Some shares that become this weight; for the default weight the default shares."""
    if weight <= LEAST_WEIGHT:
        return LEAST_SHARES
    if weight >= MOST_WEIGHT:
        return MOST_SHARES
    shares = _curve(weight)
    # the curve rounds up, so several shares give one weight: look for the roundest of them, below the border
    return (
        DEFAULT_SHARES if shares_to_weight(DEFAULT_SHARES) == weight else round(math.sqrt(shares * _curve(weight - 1)))
    )


def _curve(weight: int) -> float:
    """The shares at which the curve of `shares_to_weight` passes `weight`."""
    constant = 612 * (math.log10(weight) + 7 / 34)
    return float(2 ** ((math.sqrt(125**2 + 4 * constant) - 125) / 2))


def settings(wanted: Fields, directory: Directory, observed: Fields) -> list[Setting]:
    """What to write for `linux.resources.cpu`; times in microseconds. Raises BadResources."""
    if wanted.get("burst") and wanted.get("quota", UNLIMITED) > 0 and wanted["burst"] > wanted["quota"]:
        raise BadResources(f"cpu.burst ({wanted['burst']}) must not exceed cpu.quota ({wanted['quota']})")
    time = _time_v1(wanted) if directory.version == 1 else _time_v2(wanted, observed)
    return [*_idle(wanted), *_share(wanted, directory), *time, *_realtime(wanted)]


def _idle(wanted: Fields) -> list[Setting]:
    if "idle" not in wanted:
        return []
    return [Setting("cpu", ("cpu.idle",), str(wanted["idle"]), optional=not wanted["idle"])]


def _share(wanted: Fields, directory: Directory) -> list[Setting]:
    shares = wanted.get("shares")
    if not shares or wanted.get("idle"):  # the kernel refuses a weight for an idle cgroup
        return []
    if directory.version == 1:
        return [Setting("cpu", ("cpu.shares",), str(shares))]
    return [Setting("cpu", ("cpu.weight",), str(shares_to_weight(shares)))]


def _time_v1(wanted: Fields) -> list[Setting]:
    made = []
    if wanted.get("period"):
        made.append(Setting("cpu", ("cpu.cfs_period_us",), str(wanted["period"])))
    if "quota" in wanted:
        made.append(Setting("cpu", ("cpu.cfs_quota_us",), str(_quota(wanted)), optional=_quota(wanted) == UNLIMITED))
    if "burst" in wanted:
        made.append(Setting("cpu", ("cpu.cfs_burst_us",), str(wanted["burst"]), optional=not wanted["burst"]))
    return made


def _time_v2(wanted: Fields, observed: Fields) -> list[Setting]:
    made = []
    if "quota" in wanted or wanted.get("period"):
        whole = {**observed, **wanted}
        quota = _quota(whole)
        period = whole.get("period") or DEFAULT_PERIOD
        text = f"{'max' if quota == UNLIMITED else quota} {period}"
        made.append(Setting("cpu", ("cpu.max",), text))
    if "burst" in wanted:
        made.append(Setting("cpu", ("cpu.max.burst",), str(wanted["burst"]), optional=not wanted["burst"]))
    return made


def _quota(wanted: Fields) -> int:
    quota = int(wanted.get("quota", UNLIMITED))
    return quota if quota > 0 else UNLIMITED


def _realtime(wanted: Fields) -> list[Setting]:
    pairs = {"cpu.rt_period_us": wanted.get("realtimePeriod"), RUNTIME: wanted.get("realtimeRuntime")}
    return [
        Setting("cpu", (name,), str(value), optional=not value) for name, value in pairs.items() if value is not None
    ]


def grant_realtime(mount: str, path: str, runtime: int) -> None:
    """Give the ancestors of a v1 cgroup the realtime they are to hand down (microseconds per period).

    A new v1 cgroup has none, and the children of one can have no more together than it has itself.
    """
    above = os.path.dirname(path)
    if above == "/":
        return
    others = [child for child in children(f"{mount}{above}") if child != f"{mount}{path}"]
    needed = runtime + sum(_runtime(child) for child in others)
    if _runtime(f"{mount}{above}") < needed:
        grant_realtime(mount, above, needed)
        write_file(f"{mount}{above}/{RUNTIME}", str(needed))


def _runtime(directory: str) -> int:
    return int(read_file(f"{directory}/{RUNTIME}"))


def read(directory: Directory) -> dict[str, Any]:
    """The same fields as they are."""
    return _read_v1(directory) if directory.version == 1 else _read_v2(directory)


def _read_v1(directory: Directory) -> dict[str, Any]:
    found = {
        "shares": directory.number("cpu.shares"),
        "quota": directory.number("cpu.cfs_quota_us"),
        "period": directory.number("cpu.cfs_period_us"),
        "burst": directory.number("cpu.cfs_burst_us"),
        "realtimeRuntime": directory.number(RUNTIME),
        "realtimePeriod": directory.number("cpu.rt_period_us"),
        "idle": directory.number("cpu.idle"),
    }
    if found["idle"]:
        del found["shares"]
    return {name: value for name, value in found.items() if value is not None}


def _read_v2(directory: Directory) -> dict[str, Any]:
    found: dict[str, int | None] = {"burst": directory.number("cpu.max.burst"), "idle": directory.number("cpu.idle")}
    if bandwidth := directory.read("cpu.max"):
        quota, period = bandwidth.split()
        found |= {"quota": UNLIMITED if quota == "max" else int(quota), "period": int(period)}
    weight = directory.number("cpu.weight")
    if weight and not found["idle"]:
        found["shares"] = weight_to_shares(weight)
    return {name: value for name, value in found.items() if value is not None}


def complete(wanted: Fields, directory: Directory) -> dict[str, Any]:
    """The wanted fields as `read` will show them, defaults filled in."""
    full = {
        "shares": _clamped(wanted.get("shares") or DEFAULT_SHARES),
        "quota": _quota(wanted),
        "period": wanted.get("period") or DEFAULT_PERIOD,
        "burst": wanted.get("burst", 0),
        "idle": wanted.get("idle", 0),
    }
    if directory.version == 2:
        full["shares"] = weight_to_shares(shares_to_weight(full["shares"]))
    if full["idle"]:
        del full["shares"]
    if directory.version == 1 or "realtimeRuntime" in wanted:
        full["realtimeRuntime"] = wanted.get("realtimeRuntime", 0)
        full["realtimePeriod"] = wanted.get("realtimePeriod") or DEFAULT_REALTIME_PERIOD
    return full


def _clamped(shares: int) -> int:
    return min(max(shares, LEAST_SHARES), MOST_SHARES)


def cpuset_settings(wanted: Fields, directory: Directory, _: Fields) -> list[Setting]:
    """What to write for `cpus` and `mems`."""
    return [Setting("cpuset", (f"cpuset.{name}",), _list_text(text, name, directory)) for name, text in wanted.items()]


def _list_text(text: str, name: str, directory: Directory) -> str:
    if text:
        return list_text(parse_list(text))
    # "all there are": v2 says so by an empty line, v1 by the parent's list
    return _above(directory, name) if directory.version == 1 else "\n"


def _above(directory: Directory, name: str) -> str:
    return read_file(f"{os.path.dirname(directory.path)}/cpuset.{name}")


def cpuset_read(directory: Directory) -> dict[str, Any]:
    """The same fields as they are; empty where they are all of the parent's."""
    found = {name: directory.read(f"cpuset.{name}") for name in sorted(CPUSET_FIELDS)}
    return {name: _unless_all(text, name, directory) for name, text in found.items() if text is not None}


def cpuset_complete(wanted: Fields, directory: Directory) -> dict[str, Any]:
    """The wanted fields as `cpuset_read` will show them."""
    full = {name: wanted.get(name, "") for name in sorted(CPUSET_FIELDS)}
    return {name: _unless_all(list_text(parse_list(text)), name, directory) for name, text in full.items()}


def _unless_all(text: str, name: str, directory: Directory) -> str:
    """Empty where v1 shows just its parent's list."""
    if text and directory.version == 1 and directory.exists() and text == _above(directory, name):
        return ""
    return text


def parse_list(text: str) -> set[int]:
    """`0-3,7` (cpuset(7), "List format"). Raises BadResources."""
    spans = [SPAN.fullmatch(part.strip()) for part in text.split(",") if part.strip()]
    if None in spans:
        raise BadResources(f"{text!r} is not a list of numbers such as 0-3,7")
    return {number for span in spans if span for number in range(int(span[1]), int(span[2] or span[1]) + 1)}


def list_text(numbers: Iterable[int]) -> str:
    """As the kernel prints it: ascending, neighbours joined."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


CPU = Section("cpu", "cpu", settings, read, complete, CPU_FIELDS)
CPUSET = Section("cpu", "cpuset", cpuset_settings, cpuset_read, cpuset_complete, CPUSET_FIELDS)
