"""Put a Secret's or Config's content on the engine's tmpfs, or take it away."""

from __future__ import annotations

from reconciler.actions import Action
from reconciler.desired import Desired, Observed
from reconciler.perform.context import Context
from runtime.volumes.secrets import ensure_secret, remove_secret
from schemas.names import Key


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    """The content on the engine's tmpfs. Idempotent."""
    key = want.key
    ensure_secret(context.engine.layout, key.kind.value, key.name, context.contents[key])


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    """Idempotent."""
    remove_secret(context.engine.layout, key.kind.value, key.name)
