"""What the DNS server's records say of one owner, network by network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reconciler.observe.shared import Shared


def read_names(shared: Shared, owner: str, networks: Iterable[str]) -> dict[str, Any]:
    """Network -> {names, addresses}; None where the owner has no record."""
    found: dict[str, Any] = {}
    for network in networks:
        records = shared.names[network].owners.get(owner) if network in shared.names else None
        found[network] = (
            {"names": sorted(records.names), "addresses": sorted(records.addresses)} if records is not None else None
        )
    return found
