"""A Source is only noted, in its record and in the inventory; the daemon reads it there and follows it."""

from __future__ import annotations

from reconciler.actions import Action
from reconciler.desired import Desired, Observed
from reconciler.perform.context import Context
from schemas.names import Key


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    """Nothing beyond the record."""


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    """Nothing beyond the record: what came from it stays, until its set is deleted."""
