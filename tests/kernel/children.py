"""Run a piece of a test in a child of its own, where it may confine itself for good."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class ChildFailed(AssertionError):
    """The child raised, or a signal ended it."""


def in_child(function: Callable[..., Result], *arguments: Any) -> Result:
    """What the function returns in a forked child; ChildFailed with its traceback or signal."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _answer(writer, function, arguments)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not answer:
        raise ChildFailed(f"ended with status {status}")
    worked, result = pickle.loads(answer)
    if not worked:
        raise ChildFailed(result)
    return result  # type: ignore[no-any-return]


def _answer(writer: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        answer = (True, function(*arguments))
    except BaseException:
        answer = (False, traceback.format_exc())
    # by write(2) alone: the child may have forbidden itself nearly everything
    os.write(writer, pickle.dumps(answer))
    os._exit(0)


def end_of_child(function: Callable[..., object], *arguments: Any) -> int:
    """How a forked child that calls the function ends: its exit code, or minus the signal's number."""
    pid = os.fork()
    if pid == 0:
        try:
            function(*arguments)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
