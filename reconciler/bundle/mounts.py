"""The `mounts` of a bundle (OCI runtime-spec, config.md, Mounts): what every container has, then what this one wants.

Sources are host paths found by the caller. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.container import ContainerSpec
from schemas.mount import Mount, TmpfsOptions

DEFAULT_SHM = 64 << 20
"""Bytes of /dev/shm, as Docker has it."""

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """A host path, or the part of it at `subpath`; or with `layers` (highest first) the tree of an image. `at_hand`:
    to open it waits for nobody."""

    path: Path
    layers: tuple[Path, ...] = ()
    subpath: str = ""
    at_hand: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """Host paths behind a container's mounts, by target: of its volumes, generated files in `/etc`, secrets, devices.

    `shared_memory`: a tmpfs on the host that several containers have as /dev/shm. `host_queues`: the host's mqueue file
    system, None where it has none mounted.
    """

    by_target: Mapping[str, Source]
    files: Mapping[str, Path]
    secrets: Mapping[str, Path]
    devices: Mapping[str, Path] = field(default_factory=dict)
    shared_memory: Path | None = None
    host_queues: Path | None = None


def mounts(spec: ContainerSpec, sources: Sources) -> list[Entry]:
    """Kernel file systems first, then the manifest's mounts by depth, so that a parent never hides its child."""
    wanted = [_mount(mount, sources) for mount in spec.mounts]
    wanted += [_file(target, path) for target, path in sources.files.items()]
    wanted += [_secret(target, path) for target, path in sources.secrets.items()]
    wanted += [_device(target, path) for target, path in sources.devices.items()]
    return _kernel(spec, sources) + sorted(wanted, key=lambda entry: entry["destination"].count("/"))


def _kernel(spec: ContainerSpec, sources: Sources) -> list[Entry]:
    access = "rw" if spec.privileged else "ro"
    safe = ["nosuid", "noexec", "nodev"]
    entries = [
        _entry("/proc", "proc", "proc", safe),
        _entry("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _entry(
            "/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        _entry("/sys", "sysfs", "sysfs", [*safe, access]),
        _entry("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, "relatime", access]),
    ]
    if spec.ipc != "host":
        entries.append(_entry("/dev/mqueue", "mqueue", "mqueue", safe))
    elif sources.host_queues is not None:
        entries.append(_entry("/dev/mqueue", "bind", str(sources.host_queues), ["bind", "rprivate", *safe]))
    if spec.ipc != "none":
        entries.append(_shared_memory(spec, sources, safe))
    return entries


def _shared_memory(spec: ContainerSpec, sources: Sources, safe: Sequence[str]) -> Entry:
    """/dev/shm: its own, the host's, or one that it shares with the containers that join its ipc namespace."""
    if spec.ipc == "host":
        return _entry("/dev/shm", "bind", "/dev/shm", ["rbind", "rw", *safe])
    if sources.shared_memory is not None:
        return _entry("/dev/shm", "bind", str(sources.shared_memory), ["bind", "rprivate", "rw", *safe])
    size = spec.shm_size if spec.shm_size is not None else DEFAULT_SHM
    return _entry("/dev/shm", "tmpfs", "shm", [*safe, "mode=1777", f"size={size}"])


def _mount(mount: Mount, sources: Sources) -> Entry:
    if mount.type == "tmpfs":
        return _tmpfs(mount.target, mount.tmpfs or TmpfsOptions(), mount.read_only)
    source = sources.by_target[mount.target]
    if source.layers:
        entry = _entry(mount.target, "bind", str(source.path), ["bind", "rprivate", "ro"])
        return entry | {"layers": [str(layer) for layer in source.layers]}
    propagation = mount.bind.propagation if mount.bind is not None else None
    options = ["rbind", propagation or "rprivate", "idmap"]
    if mount.read_only:
        options += ["rro"]
    entry = _entry(mount.target, "bind", str(source.path), options)
    entry |= {"subpath": source.subpath} if source.subpath else {}
    return entry | ({"at_hand": True} if source.at_hand else {})


def _tmpfs(target: str, options: TmpfsOptions, read_only: bool) -> Entry:
    words = ["rw" if not read_only else "ro", f"mode={options.mode if options.mode is not None else 0o1777:o}"]
    words += [] if options.exec else ["noexec"]
    words += [] if options.suid else ["nosuid"]
    words += [] if options.dev else ["nodev"]
    if options.size is not None:
        words.append(f"size={options.size}")
    words += [f"{name}={value}" for name, value in (("uid", options.uid), ("gid", options.gid)) if value is not None]
    return _entry(target, "tmpfs", "tmpfs", words)


def _file(target: str, path: Path) -> Entry:
    return _entry(target, "bind", str(path), ["bind", "rprivate", "rw", "nosuid", "nodev", "idmap"])


def _secret(target: str, path: Path) -> Entry:
    """Owned by the ids its user namespace has on the host: a tmpfs cannot be id-mapped before Linux 6.3."""
    return _entry(target, "bind", str(path), ["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"])


def _device(target: str, path: Path) -> Entry:
    return _entry(target, "bind", str(path), ["bind", "rprivate", "dev", "nosuid", "noexec"])


def _entry(destination: str, type: str, source: str, options: Sequence[str]) -> Entry:
    return {"destination": destination, "type": type, "source": source, "options": list(options)}
