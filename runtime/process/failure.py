"""What went wrong while a container was made, started or entered: one exception, able to travel between processes.

Raised by launcher, monitor, init and client alike. Init sends it through a socket before it ends, the monitor passes
it on, and the client raises it to whoever called.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

NOT_EXECUTABLE = 126
NOT_FOUND = 127


class ProcessFailed(Exception):
    """A step that failed: its name, the path it was about, the errno, a sentence, and the exit code it stands for."""

    def __init__(
        self, message: str, *, step: str = "", path: str = "", errno: int | None = None, exit_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.step = step
        self.path = path
        self.errno = errno
        self.exit_code = exit_code

    def __str__(self) -> str:
        where = " ".join(part for part in (self.step, self.path) if part and part not in self.message)
        return f"{where}: {self.message}" if where else self.message

    def to_message(self) -> dict[str, Any]:
        """As a dictionary that JSON can carry."""
        return {
            "message": self.message,
            "step": self.step,
            "path": self.path,
            "errno": self.errno,
            "exit_code": self.exit_code,
        }

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> ProcessFailed:
        """The inverse of `to_message`."""
        return cls(
            str(message["message"]),
            step=str(message.get("step", "")),
            path=str(message.get("path", "")),
            errno=message.get("errno"),
            exit_code=message.get("exit_code"),
        )


class NotRunning(ProcessFailed):
    """There is no such container, or it is in a phase in which the call has no sense."""


class step:  # noqa: N801 - reads as a clause
    """`with step("mount", path):` turns an `OSError` into a `ProcessFailed` that names the step and the path."""

    __slots__ = ("name", "path")

    def __init__(self, name: str, path: str = "") -> None:
        self.name = name
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, OSError):
            text = error.strerror or (os.strerror(error.errno) if error.errno else str(error))
            path = self.path or (str(error.filename) if error.filename is not None else "")
            raise ProcessFailed(text, step=self.name, path=path, errno=error.errno) from error
