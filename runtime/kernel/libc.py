"""The door to libc: prototypes with errno checking, and system calls that libc has no name for.

Called by the other files of `runtime.kernel` only. Decides nothing: a call that fails raises `OSError` with the
kernel's errno. Numbers above 423 are the same on every architecture; older ones come from `OLD_NUMBERS`.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)

OLD_NUMBERS = {
    "x86_64": {
        "pivot_root": 155,
        "keyctl": 250,
        "ioprio_set": 251,
        "sched_setattr": 314,
        "seccomp": 317,
        "rt_sigaction": 13,
    },
    "aarch64": {
        "pivot_root": 41,
        "keyctl": 219,
        "ioprio_set": 30,
        "sched_setattr": 274,
        "seccomp": 277,
        "rt_sigaction": 134,
    },
}
"""System calls older than the common numbering that libc does not export, by machine."""


def function(name: str, *argument_types: Any) -> Callable[..., int]:
    """The libc function `name`, raising `OSError` where it returns -1."""
    return _checked(_LIBC[name], argument_types)


def system_call(number: int | str, *argument_types: Any) -> Callable[..., int]:
    """The system call `number` (or one of `OLD_NUMBERS` by name), raising `OSError` where it returns -1."""
    if isinstance(number, str):
        number = OLD_NUMBERS.get(os.uname().machine, OLD_NUMBERS["x86_64"])[number]
    raw = _checked(_LIBC["syscall"], (ctypes.c_long, *argument_types))

    def call(*arguments: Any) -> int:
        return raw(number, *arguments)

    return call


def ready_call(number: int, *arguments: Any) -> Callable[[], int]:
    """The system call `number` with its arguments, ready to be made by one call of C; returns -1 where it fails."""
    raw = ctypes.CDLL(None)["syscall"]
    raw.restype = ctypes.c_long
    return functools.partial(raw, ctypes.c_long(number), *arguments)


def _checked(raw: Any, argument_types: tuple[Any, ...]) -> Callable[..., int]:
    raw.argtypes = argument_types
    raw.restype = ctypes.c_long if argument_types[:1] == (ctypes.c_long,) else ctypes.c_int
    get_errno = ctypes.get_errno

    def call(*arguments: Any) -> int:
        result: int = raw(*arguments)
        if result == -1:
            number = get_errno()
            raise OSError(number, os.strerror(number))
        return result

    return call
