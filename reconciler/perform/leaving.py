"""Before a replica is replaced in its turn: no new connection comes to it, while those it has go on until it ends."""

from __future__ import annotations

from reconciler.desired import Observed
from reconciler.perform.context import Context
from reconciler.perform.hooks import incarnation
from reconciler.rollouts.turns import rolls
from runtime.network.depart import depart
from runtime.network.dns.records import remove_records
from schemas.names import Key


def leave(context: Context, key: Key, have: Observed | None) -> None:
    """Its names and its places in balancing go. Of Services that say how their replicas are replaced alone: it costs
    time, and the others' replicas go all at once. Raises OSError."""
    owner = have.owner if have is not None else None
    if have is None or owner is None or not rolls(context.desired.get(owner)):
        return
    layout = context.engine.layout
    for network in have.asked.get("names", {}):
        remove_records(layout, network, key.name)
    depart(layout.nft_table, str(layout.run), key.name, incarnation(layout, key.name), lives=True)
