"""One attempt per revision and parameters: what was tried of a source, how it ended, and whether to try again.

Pure. A revision that was refused or failed is not tried again, however often it is offered, before its source offers
another one, the source's own fields change, or somebody asks for it. One that took too long is gone on with.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from enum import StrEnum

from schemas.source import SourceSpec

IRRELEVANT = frozenset({"interval", "timeout", "suspend", "self_heal", "rollouts", "window", "depends_on", "webhook"})
"""Fields that change nothing of what a revision comes to."""


class Result(StrEnum):
    APPLIED = "applied"
    FAILED = "failed"
    REFUSED = "refused"
    TIMED_OUT = "timed-out"
    """Its time was over before it was done; that says nothing of the revision."""


class Next(StrEnum):
    """What to do with an offered revision."""

    TRY = "try"
    LEAVE = "leave"
    """It is what was applied last."""
    REMEMBERED = "remembered"
    """It failed or was refused, and nothing has changed since."""
    PINNED = "pinned"
    """Its set was rolled back, and stays there until the source offers something else."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. `at` in seconds since the epoch; `message` says why it did not succeed, with file and line; `left`: how
    it left the `set` (`strayed.digests_of`), empty where that is not known."""

    revision: str
    parameters: str
    result: Result
    message: str = ""
    commit: str = ""
    at: float = 0.0
    set: str = ""
    left: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """The last attempt, and the last that was applied, which may be an earlier one."""

    last: Attempt | None = None
    good: Attempt | None = None

    def after(self, attempt: Attempt) -> Memory:
        """A refused revision changed nothing, so the good one stays good; a failed one was begun."""
        return replace(self, last=attempt, good=self.good if attempt.result is Result.REFUSED else attempt)


NOTHING = Memory()


def decide(
    memory: Memory, revision: str, parameters: str, *, asked: bool = False, started: bool = False, pinned: bool = False
) -> Next:
    """What to do with a revision. `asked`: somebody wants it tried again. `started`: the daemon has just begun, and
    what was applied may have been changed without it. `pinned`: the set was rolled back from it."""
    last = memory.last
    if pinned and not asked:
        return Next.PINNED
    if last is None or asked or (last.revision, last.parameters) != (revision, parameters):
        return Next.TRY
    if last.result is Result.TIMED_OUT:
        return Next.TRY
    if last.result is Result.APPLIED:
        return Next.TRY if started else Next.LEAVE
    return Next.REMEMBERED


def is_strayed(memory: Memory, revision: str, parameters: str, asked: str) -> bool:
    """Whether somebody else has asked for something else since what is offered was applied. `asked`: of its set now."""
    last = memory.last
    if last is None or last != memory.good or not last.left:
        return False
    return (last.revision, last.parameters) == (revision, parameters) and last.left != asked


def parameters_of(spec: SourceSpec, set_name: str) -> str:
    """A digest of the fields that decide what a revision comes to."""
    fields = spec.model_dump(mode="json", exclude=set(IRRELEVANT), exclude_defaults=True)
    return hashlib.sha256(json.dumps([set_name, fields], sort_keys=True).encode()).hexdigest()[:16]
