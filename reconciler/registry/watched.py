"""What a file says, as it is now: read when it is first needed to be right, and again whenever it changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from reconciler.daemon.log import logger
from schemas.errors import Refused

LOG = logger("registry")
FILE_BYTES = 1 << 20
T = TypeVar("T")
Stamp = tuple[int, int, int]


class Watched(Generic[T]):
    """`read` makes of the text what counts; `nothing` counts while the file cannot be read, so that it closes."""

    def __init__(self, file: Path, step: str, read: Callable[[str], T], nothing: T) -> None:
        """Raises Refused: a file that is wrong from the beginning."""
        self._file, self._step, self._read, self._nothing = file, step, read, nothing
        self._stamp = stamp(file)
        self._told: Stamp | None = None
        self._value = self._taken()

    def now(self) -> T:
        """Looks at the file's times, and reads it where they changed; one that could not be read, again each time."""
        seen = stamp(self._file)
        if seen != self._stamp:
            try:
                self._value, self._stamp = self._taken(), seen
            except Refused as error:
                self._fail(seen, error)
        return self._value

    def _fail(self, seen: Stamp | None, error: Refused) -> None:
        if self._stamp is not None or seen != self._told:
            LOG.warning("nobody is let in", error=str(error))
        self._value, self._stamp, self._told = self._nothing, None, seen

    def _taken(self) -> T:
        try:
            content = self._file.read_bytes()
            if len(content) > FILE_BYTES:
                raise ValueError(f"has more than {FILE_BYTES} bytes")
            return self._read(content.decode(errors="replace"))
        except Refused as error:
            error.path = error.path or str(self._file)
            raise
        except ValueError as error:
            raise Refused(str(error), step=self._step, path=str(self._file)) from error
        except OSError as error:
            raise Refused(error.strerror or str(error), step=self._step, path=str(self._file)) from error


def stamp(file: Path) -> Stamp | None:
    """By which a change is told; None where there is no file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
