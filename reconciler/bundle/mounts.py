"""The `mounts` of a bundle (OCI runtime-spec, config.md, Mounts): what every container has, then what this one wants.

Sources are host paths found by the caller. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.container import ContainerSpec
from schemas.mount import Mount, TmpfsOptions

DEFAULT_SHM = 64 << 20
"""Bytes of /dev/shm, as Docker has it."""

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sources:
    """Host paths behind a container's mounts, by target; and generated files by their target in `/etc`."""

    by_target: Mapping[str, Path]
    files: Mapping[str, Path]
    secrets: Mapping[str, Path]


def mounts(spec: ContainerSpec, sources: Sources) -> list[Entry]:
    """Kernel file systems first, then the manifest's mounts by depth, so that a parent never hides its child."""
    wanted = [_mount(mount, sources) for mount in spec.mounts]
    wanted += [_file(target, path, False) for target, path in sources.files.items()]
    wanted += [_file(target, path, True) for target, path in sources.secrets.items()]
    return _kernel(spec) + sorted(wanted, key=lambda entry: entry["destination"].count("/"))


def _kernel(spec: ContainerSpec) -> list[Entry]:
    access = "rw" if spec.privileged else "ro"
    shm = spec.shm_size if spec.shm_size is not None else DEFAULT_SHM
    safe = ["nosuid", "noexec", "nodev"]
    entries = [
        _entry("/proc", "proc", "proc", safe),
        _entry("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _entry(
            "/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        _entry("/sys", "sysfs", "sysfs", [*safe, access]),
        _entry("/sys/fs/cgroup", "cgroup", "cgroup", [*safe, "relatime", access]),
        _entry("/dev/mqueue", "mqueue", "mqueue", safe),
    ]
    if spec.ipc != "host":
        entries.append(_entry("/dev/shm", "tmpfs", "shm", [*safe, "mode=1777", f"size={shm}"]))
    else:
        entries.append(_entry("/dev/shm", "bind", "/dev/shm", ["rbind", "rw", *safe]))
    return entries


def _mount(mount: Mount, sources: Sources) -> Entry:
    if mount.type == "tmpfs":
        return _tmpfs(mount.target, mount.tmpfs or TmpfsOptions(), mount.read_only)
    propagation = mount.bind.propagation if mount.bind is not None else None
    options = ["rbind", propagation or "rprivate", "idmap"]
    if mount.read_only or mount.type == "image":
        options += ["rro"]
    return _entry(mount.target, "bind", str(sources.by_target[mount.target]), options)


def _tmpfs(target: str, options: TmpfsOptions, read_only: bool) -> Entry:
    words = ["rw" if not read_only else "ro", f"mode={options.mode if options.mode is not None else 0o1777:o}"]
    words += [] if options.exec else ["noexec"]
    words += [] if options.suid else ["nosuid"]
    words += [] if options.dev else ["nodev"]
    if options.size is not None:
        words.append(f"size={options.size}")
    words += [f"{name}={value}" for name, value in (("uid", options.uid), ("gid", options.gid)) if value is not None]
    return _entry(target, "tmpfs", "tmpfs", words)


def _file(target: str, path: Path, read_only: bool) -> Entry:
    return _entry(
        target, "bind", str(path), ["bind", "rprivate", "ro" if read_only else "rw", "nosuid", "nodev", "idmap"]
    )


def _entry(destination: str, type: str, source: str, options: Sequence[str]) -> Entry:
    return {"destination": destination, "type": type, "source": source, "options": list(options)}
