"""What a manifest asks for that this machine has not: files, devices, processors, limits.

Looked at before anything is touched, and only for what is about to be made or changed: a profile that has gone since
stops nothing that runs. `missing_files` is also `validate`'s, which may run elsewhere. Changes nothing.
"""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from reconciler.actions import Note, Plan, Verb
from reconciler.desired import Desired
from schemas.build import is_remote
from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.errors import Invalid, Problem
from schemas.field_path import Path as FieldPath
from schemas.image import ImageSpec
from schemas.names import Key, Kind
from schemas.network import NetworkSpec
from schemas.volume import VolumeSpec

ONLINE = Path("/sys/devices/system/cpu/online")
NR_OPEN = Path("/proc/sys/fs/nr_open")
SECCOMP = "seccomp="
SECCOMP_WORDS = ("unconfined", "default")
OWN_LINKS = "tt"
"""What the names of an engine's own links begin with (runtime.layout)."""
SHOWN = 10
MADE = (Kind.IMAGE, Kind.CONTAINER, Kind.VOLUME, Kind.NETWORK)


def refuse_unfit(plan: Plan, desired: Mapping[Key, Desired]) -> None:
    """Raises Invalid with everything that what is to be made would miss on this machine."""
    items = _about_to_be_made(plan, desired)
    problems = [problem for item in items for problem in (*missing_files(item), *missing_means(item))]
    if problems:
        raise Invalid(problems)


def _about_to_be_made(plan: Plan, desired: Mapping[Key, Desired]) -> list[Declared]:
    """The manifests behind what the plan makes or changes; a Service's once for all its replicas."""
    found = {}
    for action in plan.effective:
        want = desired.get(action.key)
        if action.verb is not Verb.DELETE and action.key.kind in MADE and want is not None and want.declared:
            found[want.declared.key] = want.declared
    return list(found.values())


def missing_files(item: Declared) -> Iterator[Problem]:
    """Files of this machine that the manifest names and that are not there, or are not what they should be."""
    if isinstance(item.spec, ImageSpec):
        for field, path in (("archive", item.spec.archive), ("rootfs", item.spec.rootfs)):
            if path is not None and not Path(path).exists():
                yield _absent(item, ("spec", field), f"there is no {path}", "mend the path, or make it first")
        build = item.spec.build
        if build is not None and not is_remote(build.context) and not Path(build.context).exists():
            place = ("spec", "build", "context")
            yield _absent(item, place, f"there is no {build.context}", "mend the path, or make it first")
    elif isinstance(item.spec, ContainerTemplate):
        yield from _profiles(item, item.spec)
        for index, mount in enumerate(item.spec.volumes):
            forbidden = mount.bind is not None and not mount.bind.create_host_path
            if mount.type == "bind" and forbidden and not Path(mount.source or "").exists():
                remedy = "make it first, or write create_host_path: true to have a directory made"
                yield _absent(item, ("spec", "volumes", index, "source"), f"there is no {mount.source}", remedy)


def _absent(item: Declared, path: FieldPath, message: str, remedy: str) -> Problem:
    """What may come, as a disk or a device does at a boot."""
    return replace(item.problem(path, message, remedy), passing=True)


def _profiles(item: Declared, spec: ContainerTemplate) -> Iterator[Problem]:
    for index, option in enumerate(spec.security_opt):
        file = option.removeprefix(SECCOMP)
        if not option.startswith(SECCOMP) or file in SECCOMP_WORDS:
            continue
        said = _profile_fault(Path(file))
        if said is not None:
            remedy = "name a seccomp profile as Docker has them, or write seccomp=unconfined"
            yield item.problem(("spec", "security_opt", index), f"{file}: {said}", remedy)


def _profile_fault(file: Path) -> str | None:
    try:
        profile = json.loads(file.read_bytes())
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return f"is no JSON: {error}"
    return None if isinstance(profile, dict) and "defaultAction" in profile else "has no defaultAction"


def missing_means(item: Declared) -> Iterator[Problem]:
    """Devices, processors and limits beyond what this machine has."""
    if isinstance(item.spec, VolumeSpec):
        yield from _mounted(item, item.spec)
    elif isinstance(item.spec, NetworkSpec):
        yield from _parent(item, item.spec)
    elif isinstance(item.spec, ContainerTemplate):
        yield from _devices(item, item.spec)
        yield from _processors(item, item.spec)
        yield from _open_files(item, item.spec)


def _mounted(item: Declared, spec: VolumeSpec) -> Iterator[Problem]:
    """What a volume mounts, where that is a path of this machine."""
    device = spec.driver_opts.device if spec.driver_opts is not None else None
    if device is not None and device.startswith("/") and ":" not in device and not Path(device).exists():
        place = ("spec", "driver_opts", "device")
        yield _absent(item, place, f"there is no {device}", "mend the path, or make it first")


def _parent(item: Declared, spec: NetworkSpec) -> Iterator[Problem]:
    """The link that a macvlan or ipvlan stands on."""
    parent = spec.driver_opts.parent
    if parent is None:
        return
    try:
        socket.if_nametoindex(parent)
    except OSError:
        links = [name for _, name in socket.if_nameindex() if name != "lo" and not name.startswith(OWN_LINKS)]
        remedy = f"name one of {', '.join(links[:SHOWN])}" if links else "this machine has no link but its own"
        yield _absent(item, ("spec", "driver_opts", "parent"), f"there is no link {parent}", remedy)


def _devices(item: Declared, spec: ContainerTemplate) -> Iterator[Problem]:
    for index, device in enumerate(spec.devices):
        try:
            mode = Path(device.source).stat().st_mode
        except OSError:
            yield _absent(item, ("spec", "devices", index), f"there is no device {device.source}", "mend the path")
            continue
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode)):
            remedy = "name a device, or mount the file below volumes"
            yield item.problem(("spec", "devices", index), f"{device.source} is no device", remedy)


def _processors(item: Declared, spec: ContainerTemplate) -> Iterator[Problem]:
    if spec.cpus is None and spec.cpuset is None:
        return
    online = ONLINE.read_text().strip()
    here = _numbers(online)
    if spec.cpus is not None and spec.cpus > len(here):
        message = f"{spec.cpus:g} processors are more than the {len(here)} of this machine"
        yield item.problem(("spec", "cpus"), message, f"write 0.01 to {len(here)}, or 0 for no limit")
    if spec.cpuset is not None and (absent := _numbers(spec.cpuset) - here):
        message = f"this machine has no processor {', '.join(map(str, sorted(absent)[:3]))}"
        yield item.problem(("spec", "cpuset"), message, f"write some of {online}")


def _numbers(text: str) -> frozenset[int]:
    """`0-2,5` -> 0, 1, 2, 5 (cpuset(7), list format)."""
    ends = [part.partition("-") for part in text.split(",")]
    return frozenset(number for first, _, last in ends for number in range(int(first), int(last or first) + 1))


def _open_files(item: Declared, spec: ContainerTemplate) -> Iterator[Problem]:
    limit = spec.ulimits.get("nofile")
    if limit is None:
        return
    most = int(NR_OPEN.read_text())
    if limit.hard == -1 or limit.hard > most:
        shown = "unlimited" if limit.hard == -1 else str(limit.hard)
        message = f"{shown} is more open files than this kernel allows, {most} (fs.nr_open)"
        yield item.problem(("spec", "ulimits", "nofile"), message, f"write at most {most}")


def notes_on_host_paths(plan: Plan, desired: Mapping[Key, Desired]) -> Iterable[Note]:
    """Host paths that do not exist and are made, as Docker and Compose do: often they are misspelt."""
    for item in _about_to_be_made(plan, desired):
        if isinstance(item.spec, ContainerTemplate):
            for index, mount in enumerate(item.spec.volumes):
                if mount.type == "bind" and not Path(mount.source or "").exists():
                    made = "is made as a directory: nothing is there"
                    yield Note(item.key, f"spec.volumes[{index}]: {mount.source} {made}")
