"""What long work on an image tells while it runs: one frozen value per step forward. Prints nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    RESOLVE = "resolve"
    """Asking a registry what a reference means."""
    PULL = "pull"
    PUSH = "push"
    COMPRESS = "compress"
    READ = "read"
    """Reading an archive or a root file system of this machine."""
    UNPACK = "unpack"
    BUILD = "build"
    """Carrying out the instruction that `subject` holds."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` bytes of the blob or file `subject`; `total` is None where nobody knows it."""

    image: str
    step: Step
    subject: str = ""
    done: int = 0
    total: int | None = None


Report = Callable[[Progress], None]
"""Called from any thread; must be quick and must not raise."""


def ignore(progress: Progress) -> None:
    """A `Report` for callers that show nothing."""
