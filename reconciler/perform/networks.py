"""Make a network's bridge, rules and DNS, or take them away."""

from __future__ import annotations

from reconciler.actions import Action
from reconciler.desired import Desired, Observed
from reconciler.perform.context import Context
from runtime.network.dns.process import ensure_dns, stop_dns
from runtime.network.dns.records import ensure_listen, read_records, remove_listen
from runtime.network.firewall.table import remove_table
from runtime.network.network import ensure_network, remove_network
from schemas.names import Key


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    layout, name = context.engine.layout, want.key.name
    wanted = context.network(name)
    ensure_network(layout, wanted)
    if want.facts:
        ensure_listen(layout, name, want.facts["link"]["addresses"], internal=wanted.internal)
        ensure_dns(layout)


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    """The last network takes the DNS server and the firewall's tables along."""
    layout = context.engine.layout
    remove_network(layout, key.name)
    remove_listen(layout, key.name)
    if not read_records(layout):
        stop_dns(layout)
        remove_table(layout)
