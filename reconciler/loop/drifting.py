"""Drift as it is counted: once when it is found, once more when it is mended, however often it is looked at between.

What is held back (suspended, outside a window, waiting for another try) is seen again at each look. Pure but for what
it remembers.
"""

from __future__ import annotations

from collections import Counter

from reconciler.loop.passes import Passed
from schemas.names import Key

Counts = dict[str, dict[str, int]]


class Drifting:
    """Of one loop."""

    def __init__(self) -> None:
        self._known: dict[Key, frozenset[tuple[object, ...]]] = {}

    def counted(self, passed: Passed) -> Counts:
        """By kind: objects that the machine had changed by itself since the last look, and those brought in line."""
        found = {
            action.key: frozenset(tuple(change.path) for change in action.changes if change.drift)
            for action in passed.part.plan.effective
            if any(change.drift for change in action.changes)
        }
        mended = {outcome.action.key for outcome in passed.outcomes if outcome.ok}
        fresh = [key for key, paths in found.items() if not paths <= self._known.get(key, frozenset())]
        for key in passed.part.keys:
            self._known.pop(key, None)
        self._known |= {key: paths for key, paths in found.items() if key not in mended}
        return {
            "drift": dict(Counter(key.kind.value for key in fresh)),
            "repaired": dict(Counter(key.kind.value for key in found if key in mended)),
        }
