"""Bundles for the tests of this room: a specification as the reconciler writes it, on a busybox overlay."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.kernel import capabilities, seccomp_default
from runtime.layout import Layout

HOST_ID = 3_000_000
"""First host id of the user namespaces made here; nobody lives there."""

IDS = 65_536

MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

MOUNTS: list[dict[str, Any]] = [
    {"destination": "/proc", "type": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {"destination": "/dev/shm", "type": "tmpfs", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=8192k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]},
]

NAMESPACES = ("mount", "pid", "network", "ipc", "uts", "cgroup", "user")


def specification(*arguments: str, **process: Any) -> dict[str, Any]:
    """The specification of a container with everything on; keywords go to its `process`."""
    caps = sorted(capabilities.DEFAULT)
    mapping = [{"containerID": 0, "hostID": HOST_ID, "size": IDS}]
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "hostname": "box",
        "process": {
            "args": list(arguments),
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            "noNewPrivileges": False,
            "capabilities": {"bounding": caps, "permitted": caps, "effective": caps},
            **process,
        },
        "mounts": [dict(mount) for mount in MOUNTS],
        "linux": {
            "namespaces": [{"type": kind} for kind in NAMESPACES],
            "uidMappings": mapping,
            "gidMappings": mapping,
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 64}},
            "seccomp": seccomp_default.default_profile(caps, "x86_64"),
        },
        "annotations": {},
    }


def in_host_users(spec: dict[str, Any]) -> dict[str, Any]:
    """The same container without a user namespace of its own."""
    linux = spec["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "user"]
    del linux["uidMappings"], linux["gidMappings"]
    return spec


def write_bundle(layout: Layout, name: str, tree: Path, spec: dict[str, Any], log: str = "local") -> Path:
    """Write a container's bundle on an overlay of `tree`; logs by the driver `log`."""
    bundle = layout.container(name)
    for directory in ("upper", "work", "rootfs"):
        (bundle / directory).mkdir(parents=True, exist_ok=True)
    (bundle / "upper").chmod(0o755)
    rootfs = {"lower": [str(tree)], "upper": str(bundle / "upper"), "work": str(bundle / "work")}
    settings = {"driver": log, "directory": str(bundle / "log"), "max_size": 1 << 20, "max_file": 3}
    annotations = {"trimtab/rootfs": json.dumps(rootfs), "trimtab/log": json.dumps(settings)}
    spec["annotations"] = {**annotations, **spec["annotations"]}
    # a monitor that is about to end may still read the one before
    (bundle / "config.tmp").write_text(json.dumps(spec))
    (bundle / "config.tmp").rename(bundle / "config.json")
    return bundle


def status_fields(text: str) -> Mapping[str, str]:
    """The lines `Name: value` of /proc/PID/status."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}
