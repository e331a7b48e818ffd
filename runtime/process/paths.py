"""Where one container's things are: what the launcher needs to know of an engine's layout, and no more."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runtime.kernel import cgroup
from runtime.layout import Layout

KNOWN_PATHS = 4096
"""Containers whose paths are kept: each look at one asks for them, and to put them together costs as much as to read
one of its files."""

LOCK = "lock"
"""The file of the live directory that its creator, then its monitor, holds from birth to end."""

VANISHED = {errno.ENOENT, errno.ENODEV}
"""A cgroup that its monitor removes while we look at it: before the open, or after."""


@dataclass(frozen=True, slots=True)
class ContainerPaths:
    """A container's bundle, live directory and cgroup (a path below each hierarchy's root).

    `record` is the directory of its exit record: the bundle, unless the bundle is somebody else's.
    """

    name: str
    bundle: str
    live: str
    cgroup: str
    record: str

    @property
    def socket(self) -> str:
        """The monitor's socket."""
        return f"{self.live}/monitor.sock"

    @property
    def has_launcher(self) -> bool:
        """Whether the engine has a launcher now: whether somebody holds its lock."""
        return is_locked(f"{os.path.dirname(os.path.dirname(self.live))}/launcher.sock.lock")

    @property
    def seccomp(self) -> str:
        """Compiled profiles, shared by the engine's containers."""
        return f"{os.path.dirname(os.path.dirname(self.live))}/seccomp"

    @classmethod
    @lru_cache(KNOWN_PATHS)
    def of(cls, layout: Layout, name: str) -> ContainerPaths:
        """By the engine's layout."""
        bundle = str(layout.container(name))
        return cls(name, bundle, str(layout.live(name)), layout.cgroup(name), bundle)

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> ContainerPaths:
        """From the strings of a request."""
        return cls(message["name"], message["bundle"], message["live"], message["cgroup"], message["record"])

    def to_message(self) -> dict[str, Any]:
        """The strings of a request."""
        return {
            "name": self.name,
            "bundle": self.bundle,
            "live": self.live,
            "cgroup": self.cgroup,
            "record": self.record,
        }


def is_paused(paths: ContainerPaths) -> bool:
    """Whether the container's cgroup is frozen."""
    try:
        return cgroup.is_frozen(paths.cgroup)
    except OSError as error:
        if error.errno not in VANISHED:
            raise
        return False


def undo(paths: ContainerPaths) -> None:
    """Take away what a container that was not made has left: live directory and cgroup."""
    with contextlib.suppress(OSError):
        cgroup.remove(paths.cgroup, keep_engine=paths.has_launcher)
    with contextlib.suppress(OSError):
        remove_live(paths)


def remove_live(paths: ContainerPaths) -> None:
    """Take the live directory away, the lock in it last: nobody else removes any of it meanwhile.

    It stays where somebody has taken the lock anew by then: a second deletion, which removes it, or a successor.
    """
    try:
        entries = list(os.scandir(paths.live))
    except FileNotFoundError:
        return
    for path in (*(entry.path for entry in entries if entry.name != LOCK), f"{paths.live}/{LOCK}"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    try:
        os.rmdir(paths.live)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
            raise


def open_lock(paths: ContainerPaths) -> int | None:
    """Lock the live directory, which is there; None where a creator or a monitor holds it, from birth to end."""
    while True:
        lock = os.open(f"{paths.live}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        if os.fstat(lock).st_nlink:
            return lock
        # whoever held it took it away with its directory
        os.close(lock)


def is_replaced(paths: ContainerPaths, lock: int) -> bool:
    """Whether the live directory is another than the one `lock` was taken in: what is there belongs to a successor.

    So it does where the lock was taken away under us: a successor may be about to be made.
    """
    held = os.fstat(lock)
    if not held.st_nlink:
        return True
    try:
        found = os.stat(f"{paths.live}/{LOCK}")
    except FileNotFoundError:
        return False
    return not os.path.samestat(found, held)


def is_locked(path: str) -> bool:
    """Whether a process holds flock(2) on a file; nobody does where there is none."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
