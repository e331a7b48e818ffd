"""Where and when a run took place: part of every report, since only ratios of one run can be compared."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.peers.docker import DEBIAN

PROGRAMS = {
    "runc": ("runc", "--version"),
    "docker": ("dockerd", "--version"),
    "containerd": ("containerd", "--version"),
    "podman": ("podman", "--version"),
    "skopeo": ("skopeo", "--version"),
    "gcc": ("gcc", "--version"),
}


def describe_machine() -> dict[str, str]:
    """Words by name; a program that is not installed is not named."""
    cores = len(os.sched_getaffinity(0))
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "system": _system(),
        "kernel": platform.release(),
        "cores": str(cores),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / (1 << 30):.0f} GiB",
        "python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }
    return found | {name: version for name, command in PROGRAMS.items() if (version := _version(command))}


def _system() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    return next((line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME=")), "")


def _version(command: tuple[str, ...]) -> str:
    program = shutil.which(command[0], path=DEBIAN)
    if program is None:
        return ""
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=20, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout.partition(")")[2] or done.stdout)
    return found.group() if found else ""
