"""Namespaces and process descriptors: clone3(2), unshare(2), setns(2), pidfd_open(2) and their kin.

`KINDS` names the namespaces as the OCI runtime-spec does. Maps of user namespaces are written by `user_map.py`.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

from runtime.kernel import libc

CLONE_NEWTIME = 0x80
CLONE_FILES = 0x400
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PARENT = 0x8000
CLONE_PIDFD = 0x1000
CLONE_INTO_CGROUP = 0x200000000

KINDS = {
    "user": (CLONE_NEWUSER, "user"),
    "mount": (CLONE_NEWNS, "mnt"),
    "pid": (CLONE_NEWPID, "pid"),
    "network": (CLONE_NEWNET, "net"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "uts": (CLONE_NEWUTS, "uts"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "time": (CLONE_NEWTIME, "time"),
}
"""By the runtime-spec's name: the clone flag, and the file in /proc/PID/ns."""


class CloneArgs(ctypes.Structure):
    """`struct clone_args` of clone3(2)."""

    _fields_ = [
        (field, ctypes.c_uint64)
        for field in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    ]


_clone3 = libc.system_call(435, ctypes.POINTER(CloneArgs), ctypes.c_size_t)
_pidfd_getfd = libc.system_call(438, ctypes.c_int, ctypes.c_int, ctypes.c_uint)
_unshare = libc.function("unshare", ctypes.c_int)
_setns = libc.function("setns", ctypes.c_int, ctypes.c_int)


class Clone3:
    """A call of clone3(2) made ready: whoever makes it later, a forked process perhaps, touches next to no memory."""

    __slots__ = ("arguments", "pidfd", "pointer", "size")

    def __init__(self, flags: int, cgroup: int | None = None) -> None:
        self.pidfd = ctypes.c_int(-1)
        self.arguments = CloneArgs(flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(self.pidfd))
        if not flags & CLONE_PARENT:  # the parent's own exit signal is inherited, and EINVAL to name another
            self.arguments.exit_signal = signal.SIGCHLD
        if cgroup is not None:
            self.arguments.flags |= CLONE_INTO_CGROUP
            self.arguments.cgroup = cgroup
        self.pointer = ctypes.byref(self.arguments)
        self.size = ctypes.sizeof(self.arguments)

    def call(self) -> tuple[int, int]:
        """(0, -1) in the child, (pid, pidfd) in the parent."""
        pid = _clone3(self.pointer, self.size)
        return (pid, self.pidfd.value) if pid else (0, -1)


def light_fork(flags: int) -> Callable[[], int]:
    """A function that forks by clone3(2) with these flags: 0 in the child, the pid in the parent, -1 where it fails.

    It is one call of C with all it needs made ready, and so changes hardly a page of memory.
    """
    arguments = CloneArgs(flags=flags)
    if not flags & CLONE_PARENT:
        arguments.exit_signal = signal.SIGCHLD
    return libc.ready_call(435, ctypes.byref(arguments), ctypes.c_size_t(ctypes.sizeof(arguments)))


def clone3(flags: int, cgroup: int | None = None) -> tuple[int, int]:
    """clone3(2) as a fork into new namespaces: (0, -1) in the child, (pid, pidfd) in the parent.

    `cgroup` is a descriptor of a v2 cgroup directory to be born in. Only for a process of one thread.
    """
    return Clone3(flags, cgroup).call()


def unshare(flags: int) -> None:
    """unshare(2)."""
    _unshare(flags)


def setns(descriptor: int, flags: int = 0) -> None:
    """setns(2) with a namespace's or a process's descriptor."""
    _setns(descriptor, flags)


def pidfd_getfd(pidfd: int, descriptor: int) -> int:
    """pidfd_getfd(2): a duplicate of another process's descriptor."""
    return _pidfd_getfd(pidfd, descriptor, 0)


def open_namespace(pid: int | str, kind: str) -> int:
    """A descriptor of the namespace `kind` (a key of `KINDS`) of the process `pid` (or "self")."""
    return os.open(f"/proc/{pid}/ns/{KINDS[kind][1]}", os.O_RDONLY | os.O_CLOEXEC)


def foreign_namespaces(pid: int) -> int:
    """The clone flags of those namespaces of `pid` that the caller is not in: what setns(2) may join."""
    flags = 0
    for flag, file in KINDS.values():
        try:
            theirs = os.readlink(f"/proc/{pid}/ns/{file}")
            if theirs != os.readlink(f"/proc/self/ns/{file}"):
                flags |= flag
        except FileNotFoundError:
            continue
    return flags


def write_map(pid: int, which: str, ranges: list[tuple[int, int, int]]) -> None:
    """Write `/proc/PID/uid_map` or `gid_map` (`which`): (inside, outside, size) each, in one write(2).

    user_namespaces(7): at most 340 ranges, exactly one write.
    """
    text = "".join(f"{inside} {outside} {size}\n" for inside, outside, size in ranges)
    descriptor = os.open(f"/proc/{pid}/{which}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
