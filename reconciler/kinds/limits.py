"""A container's limits as OCI runtime-spec `linux.resources` (config-linux.md, Control groups).

Pure: the bundle is made of it, and the planner compares it with what the cgroup's files say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.container import ContainerSpec

DEFAULT_CPU_PERIOD = 100_000
"""Microseconds; the kernel's own default (cgroup-v2.rst, cpu.max)."""

DEFAULT_PIDS_LIMIT = 4_096
"""Against fork bombs; Podman's default is 2,048, Docker has none."""


Devices = Mapping[str, tuple[int, int]]
"""Major and minor number of a block device, by path."""


def resources(spec: ContainerSpec, devices: Devices, swap_accounting: bool = True) -> dict[str, Any]:
    """What the manifest asks for, without the device rules. Sections nobody asks for are left out."""
    found = {
        "memory": _memory(spec, swap_accounting),
        "cpu": _cpu(spec),
        "pids": {"limit": _pids(spec)},
        "blockIO": _block_io(spec, devices),
    }
    return {name: section for name, section in found.items() if section}


def _memory(spec: ContainerSpec, swap_accounting: bool) -> dict[str, Any]:
    """Swap as much as memory, unless written otherwise (Docker's default); left alone where it cannot be counted."""
    section: dict[str, Any] = {}
    if spec.mem_limit is not None:
        section["limit"] = spec.mem_limit
        if spec.memswap_limit is not None or swap_accounting:
            section["swap"] = spec.mem_limit * 2 if spec.memswap_limit is None else spec.memswap_limit
    if spec.mem_reservation is not None:
        section["reservation"] = spec.mem_reservation
    if spec.mem_swappiness is not None:
        section["swappiness"] = spec.mem_swappiness
    return section


def _cpu(spec: ContainerSpec) -> dict[str, Any]:
    section: dict[str, Any] = {}
    if spec.cpus is not None:
        section["period"] = DEFAULT_CPU_PERIOD
        section["quota"] = round(spec.cpus * DEFAULT_CPU_PERIOD)
    if spec.cpu_period is not None:
        section["period"] = spec.cpu_period
    if spec.cpu_quota is not None:
        section["quota"] = spec.cpu_quota
    if spec.cpu_shares is not None:
        section["shares"] = spec.cpu_shares
    if spec.cpuset is not None:
        section["cpus"] = spec.cpuset
    return section


def _pids(spec: ContainerSpec) -> int:
    if spec.pids_limit is None:
        return DEFAULT_PIDS_LIMIT
    return -1 if spec.pids_limit <= 0 else spec.pids_limit


def _block_io(spec: ContainerSpec, devices: Devices) -> dict[str, Any]:
    config = spec.blkio_config
    if config is None:
        return {}
    section: dict[str, Any] = {}
    if config.weight is not None:
        section["weight"] = config.weight
    for ours, oci in (
        ("device_read_bps", "throttleReadBpsDevice"),
        ("device_write_bps", "throttleWriteBpsDevice"),
        ("device_read_iops", "throttleReadIOPSDevice"),
        ("device_write_iops", "throttleWriteIOPSDevice"),
    ):
        if rates := getattr(config, ours):
            section[oci] = _of_devices(devices, ((rate.path, {"rate": rate.rate}) for rate in rates))
    if config.weight_device:
        weights = ((item.path, {"weight": item.weight}) for item in config.weight_device)
        section["weightDevice"] = _of_devices(devices, weights)
    return section


def _of_devices(devices: Devices, entries: Iterable[tuple[str, dict[str, int]]]) -> list[dict[str, int]]:
    """By number, ordered as the cgroup's files are read back. A path that is no device was refused before."""
    found = [{"major": devices[p][0], "minor": devices[p][1], **entry} for p, entry in entries if p in devices]
    return sorted(found, key=lambda entry: f"{entry['major']}:{entry['minor']}")
