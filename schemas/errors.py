"""The two families of errors, and what a manifest's author is told.

    TrimtabError
    ├── Refused      will not work until somebody changes something
    │   ├── Invalid  the input is wrong: every problem found, each with its place and remedy
    │   └── Missing  there is nothing of that name
    └── RetryLater   may heal by itself: backed off, capped, visible in status

Foreign exceptions are mapped to these once, at the border of the room that met them. Raise or log, never both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.field_path import Path


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value stands: file (or `-` for standard input), line and column, both counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class TrimtabError(Exception):
    """What went wrong, with the object it befell, the step, the path, the errno and what to do about it.

    `field`: of the object's manifest that it is about, where that is known; `place`: where the manifest says it.
    """

    def __init__(
        self,
        message: str,
        *,
        object: str = "",
        step: str = "",
        path: str = "",
        errno: int | None = None,
        hint: str = "",
        field: Path = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.object = object
        self.step = step
        self.path = path
        self.errno = errno
        self.hint = hint
        self.field = field
        self.place: Place | None = None

    def __str__(self) -> str:
        head = " ".join(part for part in (self.object, self.step) if part)
        text = f"{head}: {self.message}" if head else self.message
        if self.path and self.path not in text:
            text += f" ({self.path})"
        return f"{text}; {self.hint}" if self.hint else text


class Refused(TrimtabError):
    """Will not work until somebody changes something."""


class Missing(Refused):
    """There is nothing of that name."""


class RetryLater(TrimtabError):
    """May heal by itself: try again later."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with the input: `web.yaml:14:9 Container/web spec.ports[0]: message; remedy`.

    `passing`: it names what is not on this machine yet, so it may heal by itself.
    """

    place: Place
    object: str
    field: str
    message: str
    remedy: str = ""
    passing: bool = False

    def __str__(self) -> str:
        where = " ".join(part for part in (str(self.place), self.object, self.field) if part)
        return f"{where}: {self.message}" + (f"; {self.remedy}" if self.remedy else "")


class Invalid(Refused):
    """The input is wrong. Holds every problem found, in the order of their places."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @property
    def may_heal(self) -> bool:
        """Whether nothing is wrong but what is not there yet: a daemon asks again, a hand is told."""
        return bool(self.problems) and all(problem.passing for problem in self.problems)

    def __str__(self) -> str:
        return self.message
