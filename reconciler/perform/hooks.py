"""What a container's monitor does when its process has ended, though no process of the engine runs: leave the network.

The monitor itself forgets its names, so that no client is sent to a dead address; and where something on the host led
to it (published ports, a Service) an OCI poststop hook takes it out of the firewall. Whether something does is told by
a mark in the bundle, since ports come and go while the container lives.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.desired import Desired
from reconciler.perform.context import Context
from runtime.layout import Layout
from runtime.network.depart import hook
from runtime.network.dns.records import networks_directory
from runtime.process.farewell import farewell


def departure_hooks(context: Context, want: Desired, token: str) -> Sequence[Mapping[str, Any]]:
    """None for a container without a network of ours. `token` is of this incarnation."""
    return (hook(context.engine.layout, want.key.name, token),) if want.facts["endpoints"] else ()


def departure_words(context: Context, want: Desired, token: str) -> str:
    """What its monitor forgets, and when it runs those hooks; empty as for `departure_hooks`."""
    if not want.facts["endpoints"]:
        return ""
    layout, name = context.engine.layout, want.key.name
    return farewell(
        str(networks_directory(layout)), name, str(_mark(layout, name)), (str(_incarnation(layout, name)), token)
    )


def mark_reachable(layout: Layout, want: Desired) -> None:
    """Note whether something on the host leads to the container: then its farewell looks through the firewall."""
    mark = _mark(layout, want.key.name)
    if want.facts["published"] or want.owner is not None:
        mark.touch()
    else:
        mark.unlink(missing_ok=True)


def _mark(layout: Layout, name: str) -> Path:
    return layout.container(name) / "reachable"


def new_incarnation(layout: Layout, name: str) -> str:
    """Tells this start from the next, so that a late farewell of the old one takes nothing from the new one."""
    token = secrets.token_hex(4)
    path = _incarnation(layout, name)
    # ext4 begins to write what was cut short as soon as it is closed; a new file it lets lie
    path.unlink(missing_ok=True)
    path.write_text(token)
    return token


def _incarnation(layout: Layout, name: str) -> Path:
    return layout.container(name) / "incarnation"


def incarnation(layout: Layout, name: str) -> str:
    """Of the bundle as it stands; empty where there is none."""
    try:
        return _incarnation(layout, name).read_text()
    except FileNotFoundError:
        return ""
