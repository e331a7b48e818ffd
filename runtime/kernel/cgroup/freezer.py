"""Everybody in a cgroup at once: frozen, thawed, killed.

A call returns when it is so, not when the kernel was asked. v2 tells by `cgroup.events`, which can be waited on; v1's
files have to be asked again. Sources: kernel documents cgroup-v1/freezer-subsystem, cgroup-v2 "Core Interface Files".
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from runtime.kernel.cgroup.directories import directory_of, main_directory, processes
from runtime.kernel.cgroup.files import Directory, MissingController, read_file, write_file

SECONDS = 10.0


def freeze(path: str, seconds: float = SECONDS) -> None:
    """Stop every process of the cgroup and below. Raises TimeoutError, thawed again, when some do not stop in time."""
    directory = directory_of("freezer", path)
    _write_state(directory, frozen=True)
    try:
        if directory.version == 2:
            _wait_for_event(directory, "frozen", "1", seconds)
        else:
            _poll(lambda: _freezes_v1(directory), seconds, path)
    except TimeoutError:
        _write_state(directory, frozen=False)
        raise


def thaw(path: str, seconds: float = SECONDS) -> None:
    """Let them run again. One that is not frozen is no error; an ancestor's freeze stays."""
    directory = directory_of("freezer", path)
    _write_state(directory, frozen=False)
    if directory.version == 2 and not _frozen_above(directory):
        _wait_for_event(directory, "frozen", "0", seconds)


def is_frozen(path: str) -> bool:
    """Whether every process in it stands still. No such cgroup: False."""
    directory = directory_of("freezer", path)
    if directory.version == 2:
        return directory.keyed("cgroup.events").get("frozen") == "1"
    return directory.read("freezer.state") == "FROZEN"


def kill(path: str, seconds: float = SECONDS) -> None:
    """SIGKILL to every process of the cgroup and below, forking ones too; returns when none runs any more.

    They may still wait for their parent as zombies. No such cgroup is no error. Raises TimeoutError.
    """
    directory = main_directory(path)
    if not directory.exists():
        return
    try:
        write_file(f"{directory.path}/cgroup.kill", "1")
    except FileNotFoundError:
        _kill_v1(path, seconds)
    else:
        _wait_for_event(directory, "populated", "0", seconds)


def _kill_v1(path: str, seconds: float) -> None:
    def none_left() -> bool:
        pids = processes(path)
        if pids:
            _kill_once(path)
        return not pids

    _poll(none_left, seconds, path)


def _kill_once(path: str) -> None:
    """Frozen processes neither fork nor end, so no pid is missed or reused between reading and killing."""
    frozen = True
    try:
        freeze(path, seconds=0.5)
    except (TimeoutError, MissingController):
        frozen = False
    try:
        for pid in processes(path):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    finally:
        if frozen:
            thaw(path)


def _write_state(directory: Directory, frozen: bool) -> None:
    if directory.version == 2:
        write_file(f"{directory.path}/cgroup.freeze", str(int(frozen)))
    else:
        write_file(f"{directory.path}/freezer.state", "FROZEN" if frozen else "THAWED")


def _freezes_v1(directory: Directory) -> bool:
    """Asking makes v1's state advance; a process just forked wants to be told again."""
    state = read_file(f"{directory.path}/freezer.state")
    if state == "FREEZING":
        _write_state(directory, frozen=True)
    return state == "FROZEN"


def _frozen_above(directory: Directory) -> bool:
    above = Directory(os.path.dirname(directory.path), 2)
    return above.keyed("cgroup.events").get("frozen") == "1"


def _poll(done: Callable[[], bool], seconds: float, path: str) -> None:
    """Ask at once, then ever more slowly."""
    deadline, pause = time.monotonic() + seconds, 0.0002
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(errno.ETIMEDOUT, f"not done within {seconds:g} s", path)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)


def _wait_for_event(directory: Directory, key: str, value: str, seconds: float) -> None:
    """Until `key` of cgroup.events says so; the kernel wakes a poll(2) of the file at each change."""
    deadline = time.monotonic() + seconds
    fd = os.open(f"{directory.path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        # read after opening: a change from here on wakes the poll
        while f"{key} {value}\n" not in os.pread(fd, 4096, 0).decode():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, f"not {key} {value} within {seconds:g} s", directory.path)
            poller.poll(left * 1000)
    finally:
        os.close(fd)
