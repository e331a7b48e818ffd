"""What a container's monitor does when its process has ended, though no process of the engine runs: leave the network.

An OCI poststop hook forgets its names, so that no client is sent to a dead address; and where something on the host led
to it (published ports, a Service) it is taken out of the firewall. Whether something does is told by a mark in the
bundle, since ports come and go while the container lives.
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

SHELL = "/bin/sh"
FAREWELL = (
    'now=$5; [ ! -e "$4" ] || read -r now <"$4"; [ "$now" != "$5" ] || rm -f -- "$1"/*/"$2"; '
    'if [ -e "$3" ]; then shift 5; exec "$@"; fi'
)
"""Of: directory of names, container, mark, file of the incarnation, its own incarnation, program. A late farewell
leaves the names of the next incarnation alone."""
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def departure_hooks(context: Context, want: Desired) -> Sequence[Mapping[str, Any]]:
    """None for a container without a network of ours."""
    layout, name = context.engine.layout, want.key.name
    token = new_incarnation(layout, name)
    leave = hook(layout, name, token)
    if not want.facts["endpoints"]:
        return ()
    program = leave["args"]
    assert isinstance(program, list)
    parameters = [str(networks_directory(layout)), name, _mark(layout, name), str(_incarnation(layout, name)), token]
    arguments = [SHELL, "-c", FAREWELL, SHELL, *parameters, *program]
    return ({"path": SHELL, "args": arguments, "env": [f"PATH={PATH}"], "timeout": leave["timeout"]},)


def mark_reachable(layout: Layout, want: Desired) -> None:
    """Note whether something on the host leads to the container: then its farewell looks through the firewall."""
    mark = layout.container(want.key.name) / "reachable"
    if want.facts["published"] or want.owner is not None:
        mark.touch()
    else:
        mark.unlink(missing_ok=True)


def _mark(layout: Layout, name: str) -> str:
    return str(layout.container(name) / "reachable")


def new_incarnation(layout: Layout, name: str) -> str:
    """Tells this start from the next, so that a late farewell of the old one takes nothing from the new one."""
    token = secrets.token_hex(4)
    _incarnation(layout, name).write_text(token)
    return token


def _incarnation(layout: Layout, name: str) -> Path:
    return layout.container(name) / "incarnation"


def incarnation(layout: Layout, name: str) -> str:
    """Of the bundle as it stands; empty where there is none."""
    try:
        return _incarnation(layout, name).read_text()
    except FileNotFoundError:
        return ""
