"""Weights and rates of block devices: `linux.resources.blockIO`.

Rates are bytes or requests per second; a rate of 0 is none. v1's controller is `blkio`, v2's `io`; both keep weights in
another file while the BFQ scheduler is in charge. Sources: runtime-spec "Block IO"; kernel documents
cgroup-v1/blkio-controller, cgroup-v2 "IO", block/bfq-iosched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runtime.kernel.cgroup.files import Directory, Setting
from runtime.kernel.cgroup.section import Fields, Section

THROTTLES = {
    "throttleReadBpsDevice": ("blkio.throttle.read_bps_device", "rbps"),
    "throttleWriteBpsDevice": ("blkio.throttle.write_bps_device", "wbps"),
    "throttleReadIOPSDevice": ("blkio.throttle.read_iops_device", "riops"),
    "throttleWriteIOPSDevice": ("blkio.throttle.write_iops_device", "wiops"),
}
WEIGHTS_V1 = ("blkio.weight", "blkio.bfq.weight")
WEIGHT_DEVICES_V1 = ("blkio.weight_device", "blkio.bfq.weight_device")
WEIGHTS_V2 = ("io.bfq.weight", "io.weight")
DEFAULT_WEIGHT = 100
"""Of BFQ and of v2's io.weight alike."""


def weight_to_io_weight(weight: int) -> int:
    """io.weight (1..10000) for OCI's weight (10..1000)."""
    return 1 + (weight - 10) * 9999 // 990


def io_weight_to_weight(weight: int) -> int:
    """The least OCI weight that becomes at least this io.weight."""
    return 10 + -(-(weight - 1) * 990 // 9999)


def settings(wanted: Fields, directory: Directory, observed: Fields) -> list[Setting]:
    """What to write for `linux.resources.blockIO`."""
    if directory.version == 1:
        return [*_weights_v1(wanted, observed), *_throttles_v1(wanted, observed)]
    return [*_weights_v2(wanted, directory, observed), *_throttles_v2(wanted, observed)]


def _weights_v1(wanted: Fields, observed: Fields) -> list[Setting]:
    made = []
    if wanted.get("weight"):
        made.append(Setting("blkio", WEIGHTS_V1, str(wanted["weight"])))
    if wanted.get("leafWeight"):
        made.append(Setting("blkio", ("blkio.leaf_weight",), str(wanted["leafWeight"])))
    for number, entry in _replaced("weightDevice", wanted, observed):
        if entry.get("leafWeight"):
            made.append(Setting("blkio", ("blkio.leaf_weight_device",), f"{number} {entry['leafWeight']}"))
        if "weight" in entry or "leafWeight" not in entry:
            made.append(Setting("blkio", WEIGHT_DEVICES_V1, f"{number} {entry.get('weight', 0)}"))
    return made


def _weights_v2(wanted: Fields, directory: Directory, observed: Fields) -> list[Setting]:
    written, _ = _weight_scale(directory)
    made = []
    if wanted.get("weight"):
        made.append(Setting("blkio", WEIGHTS_V2, f"default {written(wanted['weight'])}"))
    if wanted.get("leafWeight"):
        made.append(Setting("blkio", ("io.leaf_weight",), str(wanted["leafWeight"])))
    for number, entry in _replaced("weightDevice", wanted, observed):
        weight = written(entry["weight"]) if entry.get("weight") else "default"
        made.append(Setting("blkio", WEIGHTS_V2, f"{number} {weight}"))
    return made


def _weight_scale(directory: Directory) -> tuple[Callable[[int], int], Callable[[int], int]]:
    """How v2 writes and reads an OCI weight: BFQ's file takes it as it is."""
    if directory.has(WEIGHTS_V2[0]):
        return int, int
    return weight_to_io_weight, io_weight_to_weight


def _throttles_v1(wanted: Fields, observed: Fields) -> list[Setting]:
    return [
        Setting("blkio", (file,), f"{number} {entry.get('rate', 0)}")
        for key, (file, _) in THROTTLES.items()
        for number, entry in _replaced(key, wanted, observed)
    ]


def _throttles_v2(wanted: Fields, observed: Fields) -> list[Setting]:
    return [
        Setting("blkio", ("io.max",), f"{number} {word}={entry.get('rate') or 'max'}")
        for key, (_, word) in THROTTLES.items()
        for number, entry in _replaced(key, wanted, observed)
    ]


def _replaced(key: str, wanted: Fields, observed: Fields) -> list[tuple[str, Mapping[str, Any]]]:
    """Each device with its entry; what was observed and is no longer wanted with an empty one."""
    if key not in wanted:
        return []
    entries = {_number(entry): entry for entry in wanted[key]}
    lost: dict[str, Mapping[str, Any]] = {
        _number(entry): {} for entry in observed.get(key, []) if _number(entry) not in entries
    }
    return [*entries.items(), *lost.items()]


def _number(entry: Mapping[str, Any]) -> str:
    return f"{entry['major']}:{entry['minor']}"


def read(directory: Directory) -> dict[str, Any]:
    """The same fields as they are."""
    return _read_v1(directory) if directory.version == 1 else _read_v2(directory)


def _read_v1(directory: Directory) -> dict[str, Any]:
    found: dict[str, Any] = {
        key: [_entry(number, "rate", int(rate)) for number, rate in _lines(directory.read(file))]
        for key, (file, _) in THROTTLES.items()
    }
    weights = [number for name in WEIGHTS_V1 if (number := directory.number(name)) is not None]
    if weights:
        found["weight"] = weights[0]
    devices = next((text for name in WEIGHT_DEVICES_V1 if (text := directory.read(name)) is not None), None)
    if devices is not None:
        found["weightDevice"] = [_entry(number, "weight", int(weight)) for number, weight in _lines(devices)]
    return found


def _read_v2(directory: Directory) -> dict[str, Any]:
    found: dict[str, Any] = {key: [] for key in THROTTLES}
    for number, rates in _lines(directory.read("io.max")):
        words = dict(pair.split("=") for pair in rates.split())
        for key, (_, word) in THROTTLES.items():
            if words.get(word, "max") != "max":
                found[key].append(_entry(number, "rate", int(words[word])))
    text = next((text for name in WEIGHTS_V2 if (text := directory.read(name)) is not None), None)
    if text is not None:
        _, shown = _weight_scale(directory)
        found["weight"] = shown(int(dict(line.split() for line in text.splitlines())["default"]))
        found["weightDevice"] = [_entry(number, "weight", shown(int(weight))) for number, weight in _lines(text)]
    return found


def _lines(text: str | None) -> list[tuple[str, str]]:
    """`major:minor value` lines, sorted as `complete` sorts; others (`default 100`, `Total 0`) left out."""
    pairs = [line.split(" ", 1) for line in (text or "").splitlines()]
    return sorted((pair[0], pair[1]) for pair in pairs if ":" in pair[0])


def _entry(number: str, key: str, value: int) -> dict[str, int]:
    major, minor = number.split(":")
    return {"major": int(major), "minor": int(minor), key: value}


def complete(wanted: Fields, directory: Directory) -> dict[str, Any]:
    """The wanted fields as `read` will show them, defaults filled in."""
    written, shown = (int, int) if directory.version == 1 else _weight_scale(directory)
    default = DEFAULT_WEIGHT if directory.version == 1 else shown(DEFAULT_WEIGHT)
    weight = wanted.get("weight")
    full: dict[str, Any] = {
        "weight": shown(written(weight)) if weight else default,
        "weightDevice": _sorted(
            {**entry, "weight": shown(written(entry["weight"]))}
            for entry in wanted.get("weightDevice", [])
            if entry.get("weight")
        ),
    }
    for key in THROTTLES:
        full[key] = _sorted(entry for entry in wanted.get(key, []) if entry.get("rate"))
    return full


def _sorted(entries: Any) -> list[dict[str, Any]]:
    return sorted((dict(entry) for entry in entries), key=_number)


BLKIO = Section("blockIO", "blkio", settings, read, complete)
