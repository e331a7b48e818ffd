"""What is known of a Service's rollout, from one pass to the next. Pure records.

Everything in it can be lost at the cost of watching once more: which replicas are still to be replaced is told by the
plan, never by this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any


class Progress(StrEnum):
    DONE = "done"
    UNDER_WAY = "under way"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class Rollout:
    """`asked`: digest of the manifests that replicas are made of, as they are asked for; `target`: of what replicas are
    to be. `good`: the manifests that were well before, by object. `back`: whether these stand in the place of those
    asked for, and `why`; also why it was halted; `good_asked`: their digest. Moments in seconds since the epoch.

    `owed`: replicas that are to be replaced for something that happened once, as another content of a Secret: when, how
    far it reaches, and why.

    Of replicas that are as wanted: `watched`, which process each has; `ready`, since when; `settled`, when it had been
    ready for long enough; `failed`, why. `told`: in words, for who asks how it goes. `surge`: how many run beside those
    that are asked for.
    """

    asked: str = ""
    target: str = ""
    progress: Progress = Progress.DONE
    good: Mapping[str, Any] = field(default_factory=dict)
    good_asked: str = ""
    back: bool = False
    why: str = ""
    watched: Mapping[str, str] = field(default_factory=dict)
    ready: Mapping[str, float] = field(default_factory=dict)
    settled: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    owed: Mapping[str, tuple[float, str, str]] = field(default_factory=dict)
    told: str = ""
    surge: int = 0

    @property
    def under_way(self) -> bool:
        return self.progress is Progress.UNDER_WAY

    @property
    def stalled(self) -> str:
        """Why what is asked for does not come about, in words; empty where it may."""
        if self.back:
            return f"rolled back: {self.why}"
        return f"rollout paused: {self.why}" if self.progress is Progress.HALTED else ""

    def afresh(self) -> Rollout:
        """With nobody watched yet."""
        return replace(self, progress=Progress.UNDER_WAY, watched={}, ready={}, settled={}, failed={}, told="")

    def done(self) -> Rollout:
        """What is asked for is well, and what was before is not gone back to any more; after a rollback it stays."""
        return replace(self, progress=Progress.DONE, good=self.good if self.back else {})

    def again(self) -> Rollout:
        """Another try of what is asked for, whatever came of the last."""
        return replace(self.afresh(), back=False, why="", target="", surge=0)

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def read_rollout(value: Any) -> Rollout:
    """The inverse of `fields`; nothing known for what another version wrote."""
    try:
        return Rollout(**{**value, "progress": Progress(value["progress"])})
    except (TypeError, KeyError, ValueError):
        return Rollout()
