"""Manifests that clients send again and again are read again only where they changed (`schemas.load_again`)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from schemas.envelope import Declared
from schemas.load import Text, load
from schemas.load_again import LoadAgain

MOST_SETS = 32
MOST_BYTES = 4 << 20
"""Of a set's texts; a larger one is not kept."""


class Loaders:
    """For several threads; a set that is being read by another is read without memory."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._known: OrderedDict[str, tuple[threading.Lock, LoadAgain]] = OrderedDict()

    def load(
        self, texts: Sequence[Text], environment: Mapping[str, str], *, set: str, commit: str
    ) -> tuple[Declared, ...]:
        """As `schemas.load.load`."""
        busy, loader = self._of(set)
        if sum(len(text.text) for text in texts) > MOST_BYTES or not busy.acquire(blocking=False):
            return load(texts, environment, set=set, commit=commit)
        try:
            return loader.load(texts, environment, set=set, commit=commit)
        finally:
            busy.release()

    def _of(self, set_name: str) -> tuple[threading.Lock, LoadAgain]:
        with self._guard:
            found = self._known.pop(set_name, None) or (threading.Lock(), LoadAgain())
            self._known[set_name] = found
            if len(self._known) > MOST_SETS:
                self._known.popitem(last=False)
            return found
