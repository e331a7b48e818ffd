"""Make a network's bridge, rules and DNS, or take them away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from reconciler.actions import Action
from reconciler.desired import Desired, Observed
from reconciler.perform.context import Context
from runtime.network.dns.process import ensure_dns, stop_dns
from runtime.network.dns.records import ensure_listen, read_records, remove_listen
from runtime.network.firewall.table import remove_table
from runtime.network.network import ensure_network, remove_network
from schemas.names import Key


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    """Link, rules and names. Raises Refused, RetryLater."""
    layout, name = context.engine.layout, want.key.name
    wanted = context.network(name)
    if not want.facts:
        ensure_network(layout, wanted)
        return
    # an interpreter that starts takes longer than the link and its rules together
    with ThreadPoolExecutor(max_workers=1) as pool:
        server = pool.submit(ensure_dns, layout)
        ensure_network(layout, wanted)
    server.result()
    addresses = want.facts["link"]["addresses"] if "link" in want.facts else ()
    subnets = () if addresses else [str(pool.subnet) for pool in wanted.pools]
    ensure_listen(layout, name, addresses, internal=wanted.internal, subnets=subnets)


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    """The last network takes the DNS server and the firewall's tables along."""
    layout = context.engine.layout
    remove_network(layout, key.name)
    remove_listen(layout, key.name)
    if not read_records(layout):
        stop_dns(layout)
        remove_table(layout)
