"""Run the interpreter from a read-only copy of its mount, which no container can ever write through.

Between its clone and its execve a container's init is this interpreter, and a script that names /proc/self/exe as its
own interpreter stays it (CVE-2019-5736): whoever is root of the host in there could open it for writing and so change
the host's file. From a detached read-only mount that fails, and nobody can find the mount to change it.
"""

from __future__ import annotations

import mmap
import os
import sys

MARK = "TRIMTAB_SEALED"


def ensure_sealed(arguments: list[str]) -> None:
    """Execute `arguments` (a script and its arguments) by the sealed interpreter, unless we are it; or return.

    Returns too where it cannot be done: without root, or for an interpreter that finds its library by its own place.
    """
    executable = os.path.realpath(sys.executable)
    if MARK in os.environ or is_sealed() or _looks_beside_itself(executable):
        return
    try:
        from runtime.kernel import mount

        tree = mount.open_tree(mount.AT_FDCWD, executable)
        mount.mount_setattr(tree, mount.MOUNT_ATTR_RDONLY)
    except OSError:
        return
    command = [sys.executable, "-S", "-I", "-X", "utf8", *arguments]
    os.execve(f"/proc/self/fd/{tree}", command, {**os.environ, MARK: "1"})


def is_sealed() -> bool:
    """Whether our own executable cannot be written through its mount."""
    return bool(os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY)


def _looks_beside_itself(executable: str) -> bool:
    """Whether the dynamic linker is told to look for libraries where the executable lies: a sealed one lies nowhere."""
    with open(executable, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        return content.find(b"$ORIGIN") >= 0
