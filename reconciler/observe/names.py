"""What the DNS server's records say of one owner, network by network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reconciler.engine import Engine
from runtime.network.dns.records import read_owner


def read_names(engine: Engine, owner: str, networks: Iterable[str]) -> dict[str, Any]:
    """Network -> {names, addresses}; None where the owner has no record."""
    found: dict[str, Any] = {}
    for network in networks:
        records = read_owner(engine.layout, network, owner)
        found[network] = (
            {"names": sorted(records.names), "addresses": sorted(records.addresses)} if records is not None else None
        )
    return found
