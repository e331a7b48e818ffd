"""Cgroups come and go: made with their limits, entered by processes, handed to a container's root, removed.

A cgroup is one path below every hierarchy's root, here `/trimtab-<engine>/<name>`. The engine's own is made with its
first child and removed with its last.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress

from runtime.kernel.cgroup.directories import check_path, ensure_controllers, undo
from runtime.kernel.cgroup.files import BadResources, MissingController, children, read_file, write_file
from runtime.kernel.cgroup.hierarchies import hierarchies
from runtime.kernel.cgroup.limits import controllers_for, write_checked
from runtime.kernel.cgroup.resources import Resources, checked

ENGINE_PREFIX = "trimtab-"
BUSY_SECONDS = 5.0


def create(path: str, resources: Resources) -> None:
    """Make the cgroup with its limits, before any process is in it. One that exists already gets the limits.

    Devices are denied unless `devices` allows them, also when it is absent. Raises BadResources, MissingController,
    OSError; what was made is removed then.
    """
    wanted = checked(resources)
    wanted.setdefault("devices", [])
    made = ensure_controllers(path, controllers_for(wanted) | {"devices"})
    try:
        write_checked(path, wanted, {})
    except (OSError, BadResources) as error:
        undo(made, error)
        raise


def places(path: str) -> list[str]:
    """Where the cgroup's files stand: one directory in each hierarchy that has it."""
    return [f"{mount}{path}" for mount in hierarchies().mounts() if os.path.isdir(f"{mount}{path}")]


def add(path: str, pid: int, beside: int = 0) -> None:
    """Move a process and its threads into the cgroup, in every hierarchy where it has a directory.

    `beside` is a process of the container: where v2 forbids processes in this cgroup, because the container made
    cgroups of its own below, the newcomer joins that one's. Raises ProcessLookupError, FileNotFoundError.
    """
    joined = False
    for mount in hierarchies().mounts():
        try:
            write_file(f"{mount}{path}/cgroup.procs", str(pid))
            joined = True
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.EBUSY or not beside:
                raise
            write_file(f"{mount}{_unified_path(beside)}/cgroup.procs", str(pid))
            joined = True
    if not joined:
        raise FileNotFoundError(errno.ENOENT, "no such cgroup", path)


def _unified_path(pid: int) -> str:
    lines = read_file(f"/proc/{pid}/cgroup").splitlines()
    return next(line[3:] for line in lines if line.startswith("0::"))


def open_directory(path: str) -> int:
    """A descriptor of the v2 directory for clone3(2) with CLONE_INTO_CGROUP. The caller closes it.

    Raises MissingController where controllers are v1's: use `add` there.
    """
    found = hierarchies()
    if found.v1 or found.unified is None:
        raise MissingController("cgroup2", "/sys/fs/cgroup/cgroup.controllers")
    return os.open(f"{found.unified}{path}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def remove(path: str, keep_engine: bool = False) -> None:
    """Remove the cgroup with all below it, in every hierarchy, and the engine's own when it is empty then.

    Ends nothing: a process inside makes it OSError(EBUSY), after a wait for those that are just leaving. No such
    cgroup is no error. `keep_engine` spares the next container the making of its parent.
    """
    check_path(path)
    for mount in hierarchies().mounts():
        _remove_tree(f"{mount}{path}", time.monotonic() + BUSY_SECONDS)
    parent = os.path.dirname(path)
    if not keep_engine and parent.removeprefix("/").startswith(ENGINE_PREFIX):
        remove_if_empty(parent)


def remove_if_empty(path: str) -> None:
    """Remove one level where nothing is below it and nobody inside."""
    check_path(path)
    for mount in hierarchies().mounts():
        try:
            os.rmdir(f"{mount}{path}")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EBUSY):
                raise


def _remove_tree(directory: str, deadline: float) -> None:
    pause = 0.0005
    while True:
        try:
            return os.rmdir(directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
            below = children(directory)
            for child in below:
                _remove_tree(child, deadline)
            if not below and time.monotonic() > deadline:
                raise
        if not below:
            time.sleep(pause)
            pause = min(pause * 2, 0.05)


def delegate(path: str, uid: int, gid: int = -1) -> None:
    """Give a v2 cgroup to the container's root, so that it can make cgroups of its own below (not its own limits).

    v1 delegation is not secure and is not done. Source: runtime-spec "Cgroup ownership", cgroups(7).
    """
    found = hierarchies()
    if found.v1 or found.unified is None:
        return
    directory = f"{found.unified}{path}"
    os.chown(directory, uid, gid)
    for name in _delegated_files():
        with suppress(FileNotFoundError):
            os.chown(f"{directory}/{name}", uid, gid)


def _delegated_files() -> list[str]:
    try:
        return read_file("/sys/kernel/cgroup/delegate").split()
    except FileNotFoundError:
        return ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
