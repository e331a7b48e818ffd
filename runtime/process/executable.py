"""Which file a command line means inside the container, and what to say when it means none.

Called last thing before execve(2), as the container's user, in its root and working directory.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from typing import NoReturn

from runtime.process.failure import NOT_EXECUTABLE, NOT_FOUND, ProcessFailed

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_executable(name: str, environment: Mapping[str, str]) -> str:
    """The file to execute for `name`: as execvp(3), but a directory is no match."""
    if "/" in name:
        return name
    denied = False
    for directory in environment.get("PATH", DEFAULT_PATH).split(":"):
        path = f"{directory or '.'}/{name}"
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and os.access(path, os.X_OK, effective_ids=True):
            return path
        denied = denied or stat.S_ISREG(mode)
    if denied:
        raise _cannot(name, errno.EACCES)
    raise _cannot(name, errno.ENOENT)


def execute(path: str, arguments: list[str], environment: dict[str, str]) -> NoReturn:
    """execve(2): the last call of ours in a container."""
    try:
        os.execve(path, arguments, environment)
    except OSError as error:
        raise _cannot(arguments[0], error.errno or 0) from error
    except ValueError as error:
        raise ProcessFailed(f'exec: "{arguments[0]}": {error}', step="exec", exit_code=NOT_EXECUTABLE) from error


def _cannot(name: str, number: int) -> ProcessFailed:
    text = "not found" if number in {errno.ENOENT, errno.ENOTDIR} else os.strerror(number).lower()
    exit_code = NOT_FOUND if number in {errno.ENOENT, errno.ENOTDIR} else NOT_EXECUTABLE
    return ProcessFailed(f'exec: "{name}": {text}', step="exec", path=name, errno=number, exit_code=exit_code)


def home_of(uid: int) -> str:
    """The home directory of a user by the container's /etc/passwd, `/` where it is not listed."""
    try:
        with open("/etc/passwd", errors="replace") as file:
            for line in file:
                fields = line.rstrip("\n").split(":")
                if len(fields) >= 6 and fields[2] == str(uid):
                    return fields[5] or "/"
    except OSError:
        pass
    return "/"
