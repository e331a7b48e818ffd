"""`linux.sysctl`: kernel parameters of the container's own namespaces, written by init.

Written through a procfs of our own that is attached nowhere: no mount or symlink of an image stands in the way.
"""

from __future__ import annotations

import os
from typing import Any

from runtime.kernel import mount
from runtime.process.failure import step


def write_sysctls(spec: dict[str, Any]) -> None:
    """Set every parameter; the kernel says which ones the namespaces do not own."""
    wanted = (spec.get("linux") or {}).get("sysctl") or {}
    if not wanted:
        return
    with step("sysctl"):
        proc = _open_proc()
    try:
        for name, value in wanted.items():
            with step("sysctl", name):
                _write(proc, name, str(value))
    finally:
        os.close(proc)


def _open_proc() -> int:
    try:
        return mount.new_mount("proc", {})
    except PermissionError:
        # the pid namespace is not ours, and so is its procfs: the host's shows the parameters of whoever asks, too
        return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _write(proc: int, name: str, value: str) -> None:
    # sysctl(8): a slash in the name separates too, and then a dot belongs to a name (an interface's)
    path = name if "/" in name else name.replace(".", "/")
    descriptor = os.open(f"sys/{path}", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=proc)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
