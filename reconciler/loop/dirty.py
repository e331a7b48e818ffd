"""The names that are to be looked at, each at most once, with the moment from which on and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from schemas.names import Key


@dataclass(frozen=True, slots=True)
class Mark:
    """`at`: not before, in seconds of the caller's clock. `why`: in words, of the first that asked. `last`: after all
    others, since nothing is known to have happened."""

    at: float
    why: str
    last: bool = False


class Dirty:
    """A work queue that collapses duplicates. For one thread."""

    def __init__(self) -> None:
        self._marks: dict[Key, Mark] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def mark(self, keys: Iterable[Key], why: str, at: float = 0.0, *, last: bool = False) -> None:
        """An earlier moment wins, whoever asked for it."""
        for key in keys:
            known = self._marks.get(key)
            if known is None or at < known.at or (known.last and not last and at <= known.at):
                self._marks[key] = Mark(at, why, last)

    def next_at(self, busy: Collection[Key] = ()) -> float | None:
        """When the first is due of those that nobody is busy with; None where there is none."""
        return min((mark.at for key, mark in self._marks.items() if key not in busy), default=None)

    def take(self, now: float, most: int, busy: Collection[Key] = ()) -> dict[Key, str]:
        """What is due and nobody is busy with, with why; it is marked no more.

        At most so many, those first to which something happened.
        """
        due = [(mark.last, key) for key, mark in self._marks.items() if mark.at <= now and key not in busy]
        if len(due) > most:
            due.sort(key=lambda pair: pair[0])
        return {key: self._marks.pop(key).why for _, key in due[:most]}
