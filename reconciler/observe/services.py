"""Facts of a Service: what the kernel balances, which virtual addresses answer, and the name of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from reconciler.engine import Engine
from reconciler.kinds.container import COMPLETED
from reconciler.observe.containers import process_word
from reconciler.observe.health import is_unhealthy
from reconciler.observe.names import read_names
from reconciler.observe.shared import Shared
from reconciler.store.records import Record
from reconciler.wanted.networks import balance_name, port_facts
from runtime.network.records import Address, ServiceBalance
from runtime.process.client import read_process

Balances = Mapping[str, Mapping[str, Any]]
"""By network."""


def read(engine: Engine, record: Record, shared: Shared) -> Mapping[str, Any]:
    """Its balancing by network, and its names."""
    name = record.key.name
    wanted = record.asked.get("balance", {})
    balances = {
        b.network: _balance(b, shared.virtual_addresses[b.network])
        for b in shared.firewall.services.values()
        if b.service == balance_name(name, b.network)
    }
    return {
        "balance": {network: balances.get(network) for network in wanted},
        "completed": sorted(_completed(engine, wanted, balances)),
        "absent": sorted(_unhealthy(engine, wanted)),
        "names": read_names(engine, f"service:{name}", record.asked.get("names", {})),
    }


def _completed(engine: Engine, wanted: Balances, balances: Balances) -> Iterator[str]:
    """Of the replicas that are missing in the balancing, those that ended with 0."""
    asked, found = ({name for facts in each.values() for name in facts["backends"]} for each in (wanted, balances))
    for name in asked - found:
        if process_word(read_process(engine.layout, name)) == COMPLETED:
            yield name


def _unhealthy(engine: Engine, wanted: Balances) -> Iterator[str]:
    """Replicas whose process was found unhealthy: they take no connections."""
    for name in {name for facts in wanted.values() for name in facts["backends"]}:
        if is_unhealthy(engine, name):
            yield name


def _balance(balance: ServiceBalance, standing: Set[Address]) -> Mapping[str, Any]:
    """`standing`: what the bridge answers for. Without its address on it the rules of a Service are never met."""
    backends: dict[str, list[str]] = {}
    for backend in balance.backends:
        backends.setdefault(backend.container, []).append(str(backend.address))
    return {
        "virtual": sorted(map(str, balance.virtual_addresses & standing)),
        "backends": {name: sorted(addresses) for name, addresses in backends.items()},
        "ports": port_facts(balance),
    }
