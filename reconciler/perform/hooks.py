"""What a container's monitor does when its process has ended, though no process of the engine runs: leave the network.

An OCI poststop hook takes the container's ports and its places in Services' balancing away.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.desired import Desired
from reconciler.perform.context import Context
from runtime.layout import Layout
from runtime.network.depart import hook


def departure_hooks(context: Context, want: Desired) -> Sequence[Mapping[str, Any]]:
    """Only for what something on the host leads to: published ports, or a Service."""
    incarnation = new_incarnation(context.engine.layout, want.key.name)
    if not want.facts["published"] and want.owner is None:
        return ()
    return (hook(context.engine.layout, want.key.name, incarnation),)


def new_incarnation(layout: Layout, name: str) -> str:
    """Tells this start from the next, so that a late farewell of the old one takes nothing from the new one."""
    token = secrets.token_hex(4)
    (layout.container(name) / "incarnation").write_text(token)
    return token


def incarnation(layout: Layout, name: str) -> str:
    """Of the bundle as it stands; empty where there is none."""
    try:
        return (layout.container(name) / "incarnation").read_text()
    except FileNotFoundError:
        return ""
