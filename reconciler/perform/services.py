"""Balance a Service's virtual addresses over the replicas that run, and name them; or take that away."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.actions import Action
from reconciler.desired import Desired, Observed
from reconciler.observe.health import is_unhealthy
from reconciler.perform.context import Context
from reconciler.perform.hooks import incarnation
from reconciler.wanted.networks import balance, balance_name
from runtime.network.dns.records import ensure_records, remove_records
from runtime.network.service import ensure_service, remove_service
from runtime.process.client import read_process
from runtime.process.records import Phase
from schemas.names import Key


def ensure(context: Context, want: Desired, have: Observed | None, action: Action) -> None:
    """Balancing and names in each of its networks; those of networks that it left go."""
    layout, name = context.engine.layout, want.key.name
    gone = set(have.asked.get("balance", {})) - set(want.facts["balance"]) if have is not None else set()
    for network in gone:
        _leave(context, name, network)
    for network, facts in want.facts["balance"].items():
        running = _running(context, facts["backends"])
        ensure_service(layout, context.network(network), balance(balance_name(name, network), network, facts, running))
    for network, names in want.facts["names"].items():
        if names is None:
            remove_records(layout, network, f"service:{name}")
        else:
            ensure_records(layout, network, f"service:{name}", names["names"], names["addresses"])


def _running(context: Context, replicas: Iterable[str]) -> dict[str, str]:
    """Replica -> incarnation, of those whose process runs now and is not unhealthy."""
    layout = context.engine.layout
    found = {name: read_process(layout, name) for name in replicas}
    running = [name for name, p in found.items() if p is not None and p.phase is Phase.RUNNING]
    return {name: incarnation(layout, name) for name in running if not is_unhealthy(context.engine, name)}


def remove(context: Context, key: Key, have: Observed | None, action: Action) -> None:
    """Its balancing and names; replicas are objects of their own. Idempotent."""
    for network in have.asked.get("balance", {}) if have is not None else ():
        _leave(context, key.name, network)


def _leave(context: Context, name: str, network: str) -> None:
    remove_service(context.engine.layout, balance_name(name, network))
    remove_records(context.engine.layout, network, f"service:{name}")
