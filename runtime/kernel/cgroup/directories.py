"""The directories of one cgroup in every hierarchy: which are made, where a controller's is, who is inside.

In v1 the cheap and always needed hierarchies are joined by every cgroup, the others when a limit asks for them; in v2
there is one directory, and controllers are enabled on the way down to it. Ancestors are made on demand.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress

from runtime.kernel.cgroup.delegation import enable_controllers
from runtime.kernel.cgroup.files import BadResources, Directory, MissingController, children, read_file, write_file
from runtime.kernel.cgroup.hierarchies import RENAMED_IN_V2, Hierarchies, Home, hierarchies

JOINED_ALWAYS = ("cpu", "cpuacct", "memory", "devices", "freezer", "pids")
MOST_ROUNDS = 100


def home_of(controller: str) -> Home:
    """Raises MissingController."""
    found = hierarchies()
    home = found.home(controller)
    if home is None:
        raise MissingController(controller, _would_be(controller, found))
    return home


def _would_be(controller: str, found: Hierarchies) -> str:
    if found.v1:
        return f"/sys/fs/cgroup/{controller}"
    return f"{found.unified}/{RENAMED_IN_V2.get(controller, controller)}.*"


def directory_of(controller: str, path: str) -> Directory:
    """Where the controller's files of this cgroup are. Raises MissingController."""
    home = home_of(controller)
    return Directory(home.directory(path), home.version)


def main_directory(path: str) -> Directory:
    """The one that tells what is in the cgroup: the freezer's in v1, else the unified one."""
    found = hierarchies()
    home = found.home("freezer") or found.homes(JOINED_ALWAYS)[0]
    return Directory(home.directory(path), home.version)


def ensure_controllers(path: str, controllers: Iterable[str]) -> list[str]:
    """Make the directories this cgroup needs for `controllers`; returns those that were not there.

    A hierarchy joined late gets the processes that are in the cgroup already.
    """
    check_path(path)
    asked = set(controllers)
    for controller in sorted(asked):
        home_of(controller)  # raises MissingController before anything is made
    made: list[str] = []
    try:
        for home in hierarchies().homes([*JOINED_ALWAYS, *sorted(asked)]):
            if _make_directory(home, path):
                made.append(home.directory(path))
            if home.version == 2:
                enable_controllers(home.mount, path, asked)
    except OSError as error:
        undo(made, error)
        raise
    if made and main_directory(path).path not in made:
        _bring_processes(path, made)
    return made


def undo(made: list[str], error: Exception) -> None:
    """Remove directories made in vain; what fails in this is noted on the error."""
    for directory in made:
        try:
            os.rmdir(directory)
        except OSError as second:
            error.add_note(f"and its removal failed: {second}")


def check_path(path: str) -> None:
    if not path.startswith("/") or path == "/" or ".." in path.split("/"):
        raise BadResources(f"{path!r} is not a path of a cgroup below the root")


def _make_directory(home: Home, path: str) -> bool:
    directory = home.directory(path)
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        return False
    except FileNotFoundError:
        # an ancestor is missing, or was removed by the end of its last child: make it and try again
        _make_directory(home, os.path.dirname(path))
        return _make_directory(home, path)
    if hierarchies().v1.get("cpuset") == home.mount:
        _inherit_cpuset(directory)
    return True


def _inherit_cpuset(directory: str) -> None:
    """A new v1 cpuset holds no processor and no memory, and nothing may enter it."""
    above = os.path.dirname(directory)
    for name in ("cpuset.cpus", "cpuset.mems"):
        write_file(f"{directory}/{name}", read_file(f"{above}/{name}"))


def _bring_processes(path: str, directories: list[str]) -> None:
    """Until nobody is left outside: a child forked meanwhile starts where its parent was."""
    for _ in range(MOST_ROUNDS):
        missing = [
            (directory, pid) for directory in directories for pid in set(processes(path)) - set(_processes(directory))
        ]
        if not missing:
            return
        for directory, pid in missing:
            with suppress(ProcessLookupError):
                write_file(f"{directory}/cgroup.procs", str(pid))
    raise TimeoutError(errno.ETIMEDOUT, "its processes fork faster than they can be moved", path)


def processes(path: str) -> list[int]:
    """Process ids in the cgroup and below it, as seen from this pid namespace. Empty when there is no such cgroup."""
    return sorted(set(_processes(main_directory(path).path)))


def _processes(directory: str) -> list[int]:
    try:
        own = [int(pid) for pid in read_file(f"{directory}/cgroup.procs").split()]
        return own + [pid for child in children(directory) for pid in _processes(child)]
    except OSError as error:
        # ENODEV: the directory went away while it was read
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return []
        raise
