"""v2: controllers enabled from the root down to a cgroup's parent, and whom the rule against inner processes hits.

A cgroup with processes of its own cannot hand controllers down, the real root excepted. Where the one in the way was
delegated to us (by systemd, or because it is the root of our cgroup namespace) its processes move into a leaf below it,
as both systemd and Docker-in-Docker expect. Elsewhere that is refused: those processes are not ours. Sources: kernel
document cgroup-v2 "Organizing Processes and Threads", systemd's "Control Group APIs and Delegation".
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress

from runtime.kernel.cgroup.files import MissingController, read_file, write_file
from runtime.kernel.cgroup.hierarchies import CORE_IN_V2, RENAMED_IN_V2

ENABLED_WHERE_OFFERED = frozenset({"cpu", "cpuset", "io", "memory", "pids"})
THREADED = frozenset({"cpu", "cpuset", "perf_event", "pids"})
LEAF = "processes"
DELEGATED = ("trusted.delegate", "user.delegate")
"""Extended attributes by which systemd marks what it delegated."""


class HoldsProcesses(OSError):
    """A cgroup on the way holds processes, so no controller can be enabled below it."""

    def __init__(self, directory: str) -> None:
        super().__init__(
            errno.EBUSY,
            "this cgroup holds processes of others, so controllers cannot be enabled below it;"
            " run the engine in a cgroup delegated to it (systemd: Delegate=yes)",
            directory,
        )


def enable_controllers(mount: str, path: str, controllers: Iterable[str]) -> None:
    """Enable what `controllers` (v1 names) need and what every container has, in all ancestors of `path`.

    Raises MissingController for one of `controllers` that the root does not offer, HoldsProcesses.
    """
    asked = {RENAMED_IN_V2.get(name, name) for name in controllers if name not in CORE_IN_V2}
    wanted = asked | ENABLED_WHERE_OFFERED
    offered = set(read_file(f"{mount}{path}/cgroup.controllers").split())
    if wanted <= offered:
        return
    directory = mount
    for part in path.strip("/").split("/"):
        _enable_in(directory, wanted)
        directory = f"{directory}/{part}"
    missing = asked - set(read_file(f"{directory}/cgroup.controllers").split())
    if missing:
        name = sorted(missing)[0]
        raise MissingController(name, f"{directory}/{name}.*")


def _enable_in(directory: str, wanted: set[str]) -> None:
    offered = set(read_file(f"{directory}/cgroup.controllers").split())
    enabled = set(read_file(f"{directory}/cgroup.subtree_control").split())
    # one by one: a controller that cannot be enabled here must not keep back the others. Threaded ones last: beside
    # processes they are not refused, but would turn the cgroup into one where the others never can be enabled
    for name in sorted((wanted & offered) - enabled, key=lambda name: (name in THREADED, name)):
        _enable_one(directory, name)


def _enable_one(directory: str, name: str) -> None:
    file = f"{directory}/cgroup.subtree_control"
    try:
        write_file(file, f"+{name}")
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.EOPNOTSUPP):
            _make_room(directory)
            write_file(file, f"+{name}")
        elif error.errno != errno.EINVAL:  # EINVAL: cpu while realtime processes live; missed below if asked for
            raise


def _make_room(directory: str) -> None:
    if not _is_ours(directory):
        raise HoldsProcesses(directory)
    leaf = f"{directory}/{LEAF}"
    with suppress(FileExistsError):
        os.mkdir(leaf)
    for _ in range(100):
        pids = read_file(f"{directory}/cgroup.procs").split()
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                write_file(f"{leaf}/cgroup.procs", pid)
    raise HoldsProcesses(directory)


def _is_ours(directory: str) -> bool:
    if any(_attribute(directory, name) == b"1" for name in DELEGATED):
        return True
    # only the real root has no type: a mount whose top has one is the root of a cgroup namespace
    above = os.path.dirname(directory)
    is_top = os.stat(directory).st_dev != os.stat(above).st_dev
    return is_top and os.path.exists(f"{directory}/cgroup.type")


def _attribute(directory: str, name: str) -> bytes:
    try:
        return os.getxattr(directory, name)
    except OSError:
        return b""
