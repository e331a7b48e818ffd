"""How many calls are under way, and whose: each use of the daemon has a share of its own, and locks out no other.

What answers from memory is always taken. Who reads has a thread for a moment, who writes waits for a turn without one,
and who follows stays: until something far away is done, or as slowly as the client reads. Of those one client has half
of the places at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from reconciler.api.problems import TooMany
from reconciler.daemon.worker import VISITORS
from schemas.errors import RetryLater

WRITERS = 64
"""Who waits for the turn or has it."""
FOLLOWERS = 512
HINT = "try again"


class Use(Enum):
    """What a call needs."""

    ALWAYS = "always"
    READ = "read"
    WRITE = "write"
    FOLLOW = "follow"


class Shares:
    """Used in one event loop. `stops`: whether no more calls are taken."""

    def __init__(self, stops: Callable[[], bool], followers: int = FOLLOWERS) -> None:
        self._stops = stops
        self._most = {Use.READ: VISITORS, Use.WRITE: WRITERS, Use.FOLLOW: followers}
        self._under_way: Counter[Use] = Counter()
        self._following: Counter[str] = Counter()

    def __getitem__(self, use: Use) -> int:
        """How many are under way."""
        return self._under_way[use]

    @contextmanager
    def taken(self, use: Use, client: str) -> Iterator[None]:
        """One more, to the end of the block. Raises RetryLater where there are too many, and TooMany where they are
        this client's."""
        if use is Use.ALWAYS:
            yield
            return
        self._refuse(use, client)
        self._under_way[use] += 1
        self._following[client] += use is Use.FOLLOW
        try:
            yield
        finally:
            self._under_way[use] -= 1
            self._following[client] -= use is Use.FOLLOW
            if not self._following[client]:
                del self._following[client]

    def _refuse(self, use: Use, client: str) -> None:
        if self._stops():
            raise RetryLater("the daemon is stopping", step="take the call", hint=HINT)
        most, half = self._most[use], max(1, self._most[use] // 2)
        if use is Use.FOLLOW and self._following[client] >= half:
            raise TooMany(f"{client} follows {half} streams already", step="follow", hint="end some of them")
        if self._under_way[use] >= most:
            what = "streams are followed" if use is Use.FOLLOW else f"calls that {use.value} are under way"
            raise RetryLater(f"{most} {what}", step="take the call", hint=HINT)
