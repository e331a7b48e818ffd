"""What a container's monitor does when its process has ended, though no process of the engine runs: leave the network.

An OCI poststop hook takes the container's ports and its places in Services' balancing away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.desired import Desired
from reconciler.perform.context import Context
from runtime.network.depart import hook


def departure_hooks(context: Context, want: Desired) -> Sequence[Mapping[str, Any]]:
    """Only for what something on the host leads to: published ports, or a Service."""
    if not want.facts["published"] and want.owner is None:
        return ()
    return (hook(context.engine.layout, want.key.name),)
