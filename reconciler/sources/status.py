"""What is told of a source: what it offers, what was applied of it, and why it is not further. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import Problem


class State(StrEnum):
    STARTING = "Starting"
    """Nothing was seen of it yet."""
    WAITING = "Waiting"
    """For a source that it depends on, or for its window."""
    APPLYING = "Applying"
    READY = "Ready"
    """What it offers was applied."""
    DEGRADED = "Degraded"
    """What it offers was applied, and an object of its set failed since."""
    STALLED = "Stalled"
    """It offers nothing that can be applied; what was applied last stays."""
    PINNED = "Pinned"
    """Its set was rolled back, until it offers something else."""
    SUSPENDED = "Suspended"
    OUT_OF_SYNC = "OutOfSync"
    """Somebody else has changed its set, and nobody puts that back now."""
    MISSING = "Missing"
    """Somebody else has deleted its set, and nobody puts that back now."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Of one source now. Times in seconds since the epoch, 0 where there is none.

    `reason`: the state's, in one word; `revision` and `commit`: what it offers, seen at `fetched_at`; `applied` and
    `applied_commit`: what was applied last, at `applied_at`; `problems`: with file and line; `temporary`: it may heal
    by itself; `at`: when it came into this state; `next_fetch`: when it is looked at without any event.
    """

    name: str
    set: str
    where: str
    state: State
    message: str = ""
    reason: str = ""
    problems: tuple[Problem, ...] = ()
    temporary: bool = False
    revision: str = ""
    commit: str = ""
    subject: str = ""
    signer: str = ""
    fetched_at: float = 0.0
    applied: str = ""
    applied_commit: str = ""
    applied_at: float = 0.0
    at: float = 0.0
    next_fetch: float = 0.0
