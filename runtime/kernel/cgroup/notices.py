"""Word of a cgroup whose memory runs out: cgroup v1's eventfd. On v2 inotify(7) tells that `memory.events` changed.

Source: Linux, Documentation/admin-guide/cgroup-v1/memory.rst, sections 9 and 10. Called by the loop. Counts nothing.
"""

from __future__ import annotations

import os

from runtime.kernel.cgroup.directories import directory_of
from runtime.kernel.cgroup.files import MissingController


def memory_notices(path: str) -> int | None:
    """A descriptor of eventfd(2) that can be read each time a process is about to be killed for want of memory, not
    blocking. None where nothing gives one: on v2, without the controller, or without the cgroup."""
    try:
        directory = directory_of("memory", path)
    except MissingController:
        return None
    if directory.version == 2:
        return None
    notices = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        _register(directory.path, notices)
    except OSError:
        os.close(notices)
        return None
    return notices


def _register(directory: str, notices: int) -> None:
    source = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
    try:
        control = os.open(f"{directory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(control, f"{notices} {source}".encode())
        finally:
            os.close(control)
    finally:
        os.close(source)
