"""Where a container's output goes: the writing half of the log drivers (`logs.py` reads).

`local` (the default of the engine), `json-file` (Docker's format), `none`.
"""

from __future__ import annotations

from typing import Protocol

from runtime.process.bundle import Spec
from runtime.process.stdio import Streams


class Log(Protocol):
    """A driver: takes what one read(2) gave, from stream 1 or 2."""

    def write(self, stream: int, data: bytes) -> None: ...

    def close(self) -> None: ...


class NoLog:
    """The driver `none`."""

    def write(self, stream: int, data: bytes) -> None:
        return None

    def close(self) -> None:
        return None


def open_log(spec: Spec, streams: Streams) -> Log:
    return NoLog()
