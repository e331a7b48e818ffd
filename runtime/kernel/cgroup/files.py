"""Reading and writing the files of one cgroup directory, and the errors a limit can meet there.

Called by the sections (memory, cpu, ...) and by what creates and removes cgroups. Knows no controller's rules.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass

UNLIMITED = -1
NEAR_MAXIMUM = 2**63 - 2**17
"""v1 shows "no limit" as the largest multiple of the page size (up to 64 KiB) below 2**63."""


class BadResources(ValueError):
    """`linux.resources` says something that no kernel could do."""


class MissingController(OSError):
    """A limit was asked for that this machine cannot set: the controller or its file is not there."""

    def __init__(self, controller: str, file: str) -> None:
        super().__init__(errno.ENOENT, f"this machine has no cgroup controller {controller}: {file} does not exist")
        self.controller = controller
        self.file = file

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value to write: the first of `files` that the kernel has gets it."""

    controller: str
    files: tuple[str, ...]
    value: str
    optional: bool = False
    """The value is a kernel default or a second file of the same limit: a kernel without the file loses nothing."""


@dataclass(frozen=True, slots=True)
class Directory:
    """One cgroup's directory in one hierarchy of version 1 or 2."""

    path: str
    version: int

    def has(self, name: str) -> bool:
        return os.path.exists(f"{self.path}/{name}")

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def read(self, name: str) -> str | None:
        """The file's text without the last newline, or None where this kernel has no such file."""
        try:
            return read_file(f"{self.path}/{name}")
        except OSError as error:
            # ENODEV: the cgroup was removed between open and read
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            return None

    def number(self, name: str) -> int | None:
        """A limit in the file's own unit: -1 for none, None where this kernel has no such file."""
        text = self.read(name)
        return None if text is None else parse_limit(text)

    def keyed(self, name: str) -> dict[str, str]:
        """A flat keyed file (`key value` lines); empty where this kernel has no such file."""
        return dict(line.split(" ", 1) for line in (self.read(name) or "").splitlines() if " " in line)


def read_file(path: str) -> str:
    """Whole text of a small kernel file without its last newline."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = b""
        while chunk := os.read(fd, 65536):
            text += chunk
    finally:
        os.close(fd)
    return text.decode().rstrip("\n")


def write_file(path: str, value: str) -> None:
    """One write(2), as kernel files want it. An OSError carries the path and the value that was refused."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (writing {value!r})", path) from None


def children(directory: str) -> list[str]:
    """Cgroups directly below."""
    try:
        if os.stat(directory).st_nlink == 2:
            return []
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def write_settings(directories: dict[str, Directory], settings: Iterable[Setting]) -> None:
    """Write all of them; `directories` maps each setting's controller to its directory.

    Some files bound each other (limit and memory+swap, quota and burst and period), and which order the kernel takes
    depends on whether limits rise or fall: what it refuses as invalid is tried again after the others, until a whole
    round brings nothing. Raises MissingController, or the first refusal.
    """
    waiting = list(settings)
    while waiting:
        refused: list[tuple[Setting, OSError]] = []
        for setting in waiting:
            try:
                write_setting(directories[setting.controller], setting)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                refused.append((setting, error))
        if len(refused) == len(waiting):
            raise refused[0][1]
        waiting = [setting for setting, _ in refused]


def write_setting(directory: Directory, setting: Setting) -> None:
    for name in setting.files:
        try:
            return write_file(f"{directory.path}/{name}", setting.value)
        except FileNotFoundError:
            continue
    if setting.optional and directory.exists():
        return None
    raise MissingController(setting.controller, f"{directory.path}/{setting.files[0]}")


def parse_limit(text: str) -> int:
    """`max` and v1's largest number are -1."""
    if text == "max":
        return UNLIMITED
    number = int(text)
    return UNLIMITED if number >= NEAR_MAXIMUM else number


def limit_text(number: int, version: int) -> str:
    """How a limit is written: a negative one as v1's `-1` or v2's `max`."""
    if number >= 0:
        return str(number)
    return "-1" if version == 1 else "max"
