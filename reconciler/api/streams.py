"""`sys.stdout` and its like in the daemon: those of the client that the thread works for, else the process's own.

So whatever a command prints, by whatever means, reaches whoever gave it.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any, TextIO, cast

from reconciler.api.outgoing import Outgoing
from reconciler.caller import caller


class FrameBytes(io.RawIOBase):
    """Bytes to one stream of a client."""

    def __init__(self, outgoing: Outgoing, kind: int) -> None:
        self._outgoing = outgoing
        self._kind = kind

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._outgoing.tell(self._kind, bytes(data))
        return len(data)


class FrameText(io.TextIOBase):
    """Text to one stream of a client, a terminal where the client's is one."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, outgoing: Outgoing, kind: int, *, is_terminal: bool) -> None:
        self.buffer = FrameBytes(outgoing, kind)
        self._is_terminal = is_terminal

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.buffer.write(text.encode(errors="replace"))
        return len(text)

    def isatty(self) -> bool:
        return self._is_terminal


class Routed(io.TextIOBase):
    """The stream of whoever the work is for."""

    def __init__(self, own: TextIO, of_caller: Callable[[], TextIO]) -> None:
        self._own = own
        self._of_caller = of_caller

    @property
    def target(self) -> TextIO:
        return self._of_caller() if caller().is_remote else self._own

    @property
    def buffer(self) -> Any:
        return self.target.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.target.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.target.errors

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return self.target.write(text)

    def read(self, size: int | None = -1) -> str:
        return self.target.read(-1 if size is None else size)

    def flush(self) -> None:
        self.target.flush()

    def isatty(self) -> bool:
        return self.target.isatty()

    def fileno(self) -> int:
        """Raises OSError for a client's stream: it has no descriptor here."""
        return self.target.fileno()


def route_streams() -> None:
    """From now on, in this process, standard streams are the caller's."""
    sys.stdout = cast(TextIO, Routed(sys.stdout, lambda: caller().stdout()))
    sys.stderr = cast(TextIO, Routed(sys.stderr, lambda: caller().stderr()))
    sys.stdin = cast(TextIO, Routed(sys.stdin, lambda: caller().stdin()))
