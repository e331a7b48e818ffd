"""What the loop remembers of objects between passes: failures, restarts in a row, when each is to be looked at again.

Used by one pass at a time. Restarts are kept in the store too, so that a new daemon counts on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.backoff import Failure
from reconciler.restart import Decision, Restarts
from schemas.names import Key


@dataclass(slots=True)
class Memory:
    failures: dict[Key, Failure] = field(default_factory=dict)
    restarts: dict[str, Restarts] = field(default_factory=dict)
    """By container, of those started again by their policy."""
    ended: dict[str, Decision] = field(default_factory=dict)
    """By container, of those whose process has ended: what the policy says."""

    def forget(self, key: Key) -> None:
        """A fresh start: the object was changed, or somebody asked for another try."""
        self.failures.pop(key, None)
        self.restarts.pop(key.name, None)

    def is_waiting(self, key: Key, now: float) -> bool:
        """Whether the object failed and is not to be tried again yet."""
        failure = self.failures.get(key)
        return failure is not None and (failure.at is None or failure.at > now)
