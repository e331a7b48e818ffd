"""A process of one thread enters a cgroup by itself, which costs nothing; being moved by another costs milliseconds.

Whoever moves another process makes the kernel wait until no processor is in the midst of a fork or an exit
(`cgroup_threadgroup_rwsem`: 10 to 20 ms where nobody was moved lately). A thread that writes `0` to v1's `tasks` moves
itself and nothing else, and the kernel skips that wait.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from runtime.kernel.cgroup.hierarchies import hierarchies
from runtime.kernel.cgroup.tree import add


def open_entries(path: str) -> tuple[int, ...]:
    """Descriptors for `enter`, one for each hierarchy where the cgroup has a directory.

    A child may use them whatever its ids: the kernel asks for the rights of who opened them. Raises FileNotFoundError.
    """
    found = hierarchies()
    opened: list[int] = []
    for mount in found.mounts():
        # v2 moves one thread alone only between cgroups of one threaded domain
        file = "cgroup.procs" if mount == found.unified else "tasks"
        with suppress(FileNotFoundError):
            opened.append(os.open(f"{mount}{path}/{file}", os.O_WRONLY | os.O_CLOEXEC))
    if not opened:
        raise FileNotFoundError(errno.ENOENT, "no such cgroup", path)
    return tuple(opened)


def enter(entries: tuple[int, ...]) -> None:
    """Move the calling thread, the only one of its process, by descriptors of `open_entries`, and close them."""
    for descriptor in entries:
        os.write(descriptor, b"0")
        os.close(descriptor)


def join(path: str, beside: int = 0) -> None:
    """Move the calling process, which has one thread. `beside` and errors as for `add`."""
    if hierarchies().v1:
        enter(open_entries(path))
    else:
        add(path, os.getpid(), beside)
