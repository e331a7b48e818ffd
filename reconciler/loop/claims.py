"""Who acts on what at this moment: passes run beside each other, and no two act on one object or on what it stands on.

Used from the passes' threads. The engine's lock is held as long as any of them acts, so that commands without the
daemon stay out.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reconciler.desired import Desired
from reconciler.lock import engine_lock
from schemas.names import Key


class Claims:
    def __init__(self, lock: Path) -> None:
        self._path = lock
        self._guard = threading.Lock()
        self._held: set[Key] = set()
        self._acting = 0
        self._engine = ExitStack()

    @property
    def held(self) -> frozenset[Key]:
        with self._guard:
            return frozenset(self._held)

    @contextmanager
    def claim(
        self, keys: Collection[Key], desired: Mapping[Key, Desired], within: frozenset[Key] = frozenset()
    ) -> Iterator[frozenset[Key]]:
        """Hold the keys; those that somebody holds, or whose needs somebody holds, are given back instead. `within`:
        what the caller holds already.

        Raises RetryLater while another process has the engine.
        """
        with self._guard:
            taken = frozenset(key for key in keys if self._is_held(key, desired, within))
            mine = set(keys) - taken
            if not self._acting:
                self._engine.enter_context(engine_lock(self._path))
            self._acting += 1
            self._held |= mine
        try:
            yield taken
        finally:
            with self._guard:
                self._held -= mine
                self._acting -= 1
                if not self._acting:
                    self._engine.close()

    def _is_held(self, key: Key, desired: Mapping[Key, Desired], within: frozenset[Key]) -> bool:
        needs = desired[key].needs if key in desired else ()
        held = self._held - within
        return key in held or not held.isdisjoint(needs)
