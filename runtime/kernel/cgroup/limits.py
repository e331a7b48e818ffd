"""Limits of one cgroup: written from OCI `linux.resources`, read back in the same shape, and compared.

Every controller's section says what to write; here each is aimed at the hierarchy that holds its controller. What is
not there is never passed over: MissingController. Called by `tree` for a new cgroup, and for changes of a living one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.kernel.cgroup import devices_v1, devices_v2, unified
from runtime.kernel.cgroup.blkio import BLKIO
from runtime.kernel.cgroup.cpu import CPU, CPUSET, grant_realtime
from runtime.kernel.cgroup.devices import Policy, container_policy, rules_of
from runtime.kernel.cgroup.directories import directory_of, ensure_controllers, home_of
from runtime.kernel.cgroup.files import Directory, MissingController, Setting, write_settings
from runtime.kernel.cgroup.hierarchies import RENAMED_IN_V2, Home, hierarchies
from runtime.kernel.cgroup.hugetlb import HUGETLB
from runtime.kernel.cgroup.memory import MEMORY
from runtime.kernel.cgroup.network import NET_CLASS, NET_PRIORITY
from runtime.kernel.cgroup.pids import PIDS
from runtime.kernel.cgroup.rdma import RDMA
from runtime.kernel.cgroup.resources import Resources, checked
from runtime.kernel.cgroup.section import Section

SECTIONS = (MEMORY, CPU, CPUSET, PIDS, BLKIO, HUGETLB, NET_CLASS, NET_PRIORITY, RDMA)


@dataclass(frozen=True, slots=True)
class Difference:
    """One limit that the files state otherwise than `linux.resources`: `memory.limit`, `devices`, `unified.io.max`."""

    field: str
    wanted: Any
    observed: Any


def controllers_for(resources: Resources) -> set[str]:
    """The controllers (v1 names) without which these resources cannot be had."""
    asked = {section.controller for section in SECTIONS if section.of(resources)}
    names = {new: old for old, new in RENAMED_IN_V2.items() if old != "cpuacct"}
    asked |= {names.get(name, name) for name in unified.controllers(resources.get("unified", {}))}
    return asked | ({"devices"} if "devices" in resources else set())


def write_limits(path: str, resources: Resources) -> None:
    """Write the limits that are named, and no other. Devices that are named replace the whole list.

    Raises BadResources, MissingController, or the OSError with which the kernel refused a value.
    """
    wanted = checked(resources)
    ensure_controllers(path, controllers_for(wanted))
    observed = {section.controller: _read_section(section, path) for section in SECTIONS if section.of(wanted)}
    write_checked(path, wanted, observed)


def write_checked(path: str, wanted: Resources, observed: Mapping[str, Mapping[str, Any]]) -> None:
    """The same for resources already checked and directories that exist; nothing is observed in a new cgroup."""
    directories: dict[str, Directory] = {}
    settings: list[Setting] = []
    for section in SECTIONS:
        if fields := section.of(wanted):
            directory = directories[section.controller] = directory_of(section.controller, path)
            settings += section.settings(fields, directory, observed.get(section.controller, {}))
    if "unified" in wanted:
        directories["unified"] = _unified_directory(path)
        settings += unified.settings(wanted["unified"])
    _grant_realtime(path, wanted)
    write_settings(directories, settings)
    if "devices" in wanted:
        write_devices(path, container_policy(wanted["devices"]))


def ensure_limits(path: str, resources: Resources) -> tuple[Difference, ...]:
    """Make the limits exactly these, and every other what the kernel starts with. Returns what was mended."""
    found = differences(path, resources)
    if not found:
        return found
    wanted = complete(resources)
    # files named by `unified` come last again, since their sections are written whole
    keys = {difference.field.split(".", 1)[0] for difference in found} | {"unified"}
    write_limits(path, {key: wanted[key] for key in wanted if key in keys})
    return found


def read_limits(path: str) -> dict[str, Any]:
    """What the files say now, in the shape of `linux.resources`; -1 is no limit. What this machine lacks is left out.

    Raises FileNotFoundError when there is no such cgroup.
    """
    _check_exists(path)
    found: dict[str, Any] = {}
    for section in SECTIONS:
        _merge(found, section, _read_section(section, path))
    policy = read_devices(path)
    if policy is not None:
        found["devices"] = rules_of(policy)
    return found


def complete(resources: Resources) -> dict[str, Any]:
    """What `read_limits` would say of a new cgroup with these resources: rounded, converted, defaults filled in.

    `devices` and `unified` only where they are named.
    """
    wanted = checked(resources)
    full: dict[str, Any] = {}
    for section in SECTIONS:
        if home := hierarchies().home(section.controller):
            _merge(full, section, section.complete(section.of(wanted), _directory(home, "/")))
    if "devices" in wanted:
        full["devices"] = rules_of(container_policy(wanted["devices"]))
    if "unified" in wanted:
        full["unified"] = wanted["unified"]
    return full


def differences(path: str, resources: Resources) -> tuple[Difference, ...]:
    """Where the files and `resources` disagree, also about limits nobody asked for that somebody set."""
    _check_exists(path)
    wanted = checked(resources)
    found: list[Difference] = []
    for section in SECTIONS:
        if home := hierarchies().home(section.controller):
            found += _section_differences(section, wanted, _directory(home, path))
        elif section.of(wanted):
            home_of(section.controller)  # raises MissingController
    if "devices" in wanted:
        found += _device_differences(path, container_policy(wanted["devices"]))
    for name, text in wanted.get("unified", {}).items():
        observed = unified.differs(_unified_directory(path), name, text)
        if observed is not None:
            found.append(Difference(f"unified.{name}", text, observed))
    return tuple(found)


def _section_differences(section: Section, wanted: Resources, directory: Directory) -> list[Difference]:
    asked = section.of(wanted)
    observed = section.read(directory)
    # who writes v2 files by name moves the same limits: what is not asked for here may be theirs
    by_name = RENAMED_IN_V2.get(section.controller, section.controller) in unified.controllers(
        wanted.get("unified", {})
    )
    return [
        Difference(_field_name(section, name), value, observed.get(name))
        for name, value in section.complete(asked, directory).items()
        if observed.get(name) != value and (name in asked or (name in observed and not by_name))
    ]


def _field_name(section: Section, name: str) -> str:
    return name if name == section.key else f"{section.key}.{name}"


def _device_differences(path: str, policy: Policy) -> list[Difference]:
    observed = read_devices(path)
    # v1 hides the exceptions of an allowing default
    hidden = home_of("devices").version == 1 and policy.allow and observed is not None and observed.allow
    if observed == policy or hidden:
        return []
    return [Difference("devices", rules_of(policy), rules_of(observed) if observed else None)]


def _merge(into: dict[str, Any], section: Section, fields: Mapping[str, Any]) -> None:
    if not fields:
        return
    if section.key in fields:
        into[section.key] = fields[section.key]
    else:
        into.setdefault(section.key, {}).update(fields)


def _read_section(section: Section, path: str) -> dict[str, Any]:
    home = hierarchies().home(section.controller)
    return section.read(_directory(home, path)) if home else {}


def _directory(home: Home, path: str) -> Directory:
    return Directory(home.directory(path), home.version)


def _unified_directory(path: str) -> Directory:
    unified_mount = hierarchies().unified
    if unified_mount is None:
        raise MissingController("unified", "/sys/fs/cgroup/cgroup.controllers")
    return Directory(f"{unified_mount}{path}", 2)


def _check_exists(path: str) -> None:
    if not any(Directory(f"{mount}{path}", 1).exists() for mount in hierarchies().mounts()):
        raise FileNotFoundError(2, "no such cgroup", path)


def _grant_realtime(path: str, wanted: Resources) -> None:
    runtime = wanted.get("cpu", {}).get("realtimeRuntime", 0)
    home = hierarchies().home("cpu")
    if runtime > 0 and home and home.version == 1:
        grant_realtime(home.mount, path, runtime)


def write_devices(path: str, policy: Policy) -> None:
    """In whichever version holds the devices. Raises OSError, MissingController."""
    home = home_of("devices")
    (devices_v1 if home.version == 1 else devices_v2).write(home.directory(path), policy)


def read_devices(path: str) -> Policy | None:
    """None where no policy was written (v2)."""
    home = home_of("devices")
    directory = home.directory(path)
    return devices_v1.read(directory) if home.version == 1 else devices_v2.read(directory)
