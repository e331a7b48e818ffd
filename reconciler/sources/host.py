"""What the host has that manifests depend on: block devices by number, ports in use, whether swap can be limited.

Read only where some manifest asks for it, before planning.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.errors import Invalid, Problem
from schemas.field_path import Path as FieldPath
from schemas.limits import BlkioConfig
from schemas.service import ServiceSpec

RATES = ("weight_device", "device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops")


def read_block_devices(declared: Iterable[Declared]) -> dict[str, tuple[int, int]]:
    """Major and minor number by path, of every device that a limit names. Raises Invalid for what is none."""
    found: dict[str, tuple[int, int]] = {}
    problems: list[Problem] = []
    for item in declared:
        for path, device in _limited_devices(item):
            try:
                status = Path(device).stat()
            except OSError as error:
                problems.append(item.problem(path, f"no device {device}: {error.strerror}", "mend the path"))
                continue
            if stat.S_ISBLK(status.st_mode):
                found[device] = (os.major(status.st_rdev), os.minor(status.st_rdev))
            else:
                problems.append(item.problem(path, f"{device} is no block device", "name a disk, as /dev/sda"))
    if problems:
        raise Invalid(problems)
    return found


def _limited_devices(item: Declared) -> Iterator[tuple[FieldPath, str]]:
    config: BlkioConfig | None = getattr(item.spec, "blkio_config", None)
    if config is not None:
        for name in RATES:
            for index, entry in enumerate(getattr(config, name)):
                yield ("spec", "blkio_config", name, index, "path"), entry.path


def can_limit_swap(declared: Iterable[Declared]) -> bool:
    """Whether this machine counts swap; asked only for containers whose memory is limited."""
    if not any(map(_limits_memory, declared)):
        return True
    from runtime.kernel.features.system import swap_accounting

    try:
        swap_accounting(Path("/"))
    except OSError:
        return False
    return True


def _limits_memory(item: Declared) -> bool:
    spec = item.spec.replica() if isinstance(item.spec, ServiceSpec) else item.spec
    return isinstance(spec, ContainerTemplate) and spec.mem_limit is not None


def busy_ports(declared: Iterable[Declared]) -> frozenset[tuple[str, int]]:
    """Protocol and port of what the host listens on; asked only for ports that are free to be chosen."""
    ports = (port for item in declared if isinstance(item.spec, ContainerTemplate) for port in item.spec.ports)
    if all(port.published is not None and port.published.count == 1 for port in ports):
        return frozenset()
    from runtime.network.host import read_listeners

    return frozenset((str(listener.protocol), listener.port) for listener in read_listeners())
