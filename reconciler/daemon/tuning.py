"""How Python itself is set for a process that keeps many objects and answers others meanwhile."""

from __future__ import annotations

import gc
import sys

SEEN_OFTEN, SEEN_SELDOM, SEEN_HARDLY = 50_000, 20, 100
SWITCH_SECONDS = 0.001


def tune() -> None:
    """A pass makes many objects that live as long as it does: looking for cycles that often costs an eighth of it.
    And the event loop must get its turn soon while a thread computes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(SEEN_OFTEN, SEEN_SELDOM, SEEN_HARDLY)
    sys.setswitchinterval(SWITCH_SECONDS)
