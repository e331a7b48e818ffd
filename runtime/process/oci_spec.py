"""The specification that `trimtab-oci spec` writes: a shell in `rootfs`, with the usual mounts and limits of power."""

from __future__ import annotations

from typing import Any

from runtime.kernel import capabilities
from runtime.process.hooks import OCI_VERSION

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def example_spec() -> dict[str, Any]:
    """A new specification."""
    caps = sorted(capabilities.DEFAULT)
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "trimtab",
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
        },
    }


def _mounts() -> list[dict[str, Any]]:
    closed = ["nosuid", "noexec", "nodev"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    return [
        _mount("/proc", "proc", []),
        _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", pts),
        _mount("/dev/shm", "tmpfs", [*closed, "mode=1777", "size=65536k"], "shm"),
        _mount("/dev/mqueue", "mqueue", closed),
        _mount("/sys", "sysfs", [*closed, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", [*closed, "relatime", "ro"]),
    ]


def _mount(destination: str, fstype: str, options: list[str], source: str = "") -> dict[str, Any]:
    return {"destination": destination, "type": fstype, "source": source or fstype, "options": options}
