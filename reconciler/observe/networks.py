"""Facts of a network: its bridge and addresses, its part of the firewall, names answered at its gateways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.engine import Engine
from reconciler.observe.shared import Shared
from reconciler.store.records import Record
from runtime.network.dns.records import is_known
from runtime.network.network import read_network


def read(engine: Engine, record: Record, shared: Shared) -> Mapping[str, Any]:
    """Its link, firewall and names; nothing of a network that is the host's."""
    if not record.asked:
        return {}
    name = record.key.name
    if "link" not in record.asked:
        return {"dns": _dns_beside(engine, name, shared)}
    bridge = read_network(engine.layout, name)
    if bridge is None:
        return {"link": None, "firewall": _firewall(name, shared), "dns": _dns(record, shared)}
    addresses = sorted(str(a) for a in bridge.addresses if a.ip not in bridge.virtual_addresses)
    link = {"state": "up" if bridge.up else "down", "addresses": addresses, "mtu": bridge.mtu}
    return {"link": link, "firewall": _firewall(name, shared), "dns": _dns(record, shared)}


def _firewall(name: str, shared: Shared) -> Mapping[str, Any] | None:
    rules = shared.firewall.networks.get(name)
    if rules is None:
        return None
    return {
        "rules": "complete" if shared.firewall.whole and rules.whole else "damaged",
        "internal": rules.internal,
        "icc": rules.icc,
        "isolated": rules.isolated,
        "masquerade": rules.masquerade,
        "subnets": sorted(str(subnet) for subnet in rules.subnets),
    }


def _server(shared: Shared) -> str | None:
    """What is wrong with the server itself, which all networks share."""
    if not shared.dns.alive:
        return "stopped"
    return None if shared.dns.is_current else "of another version"


def _dns_beside(engine: Engine, name: str, shared: Shared) -> str:
    """Of a network that has no gateway on this host: its containers are answered within their own namespaces."""
    if (wrong := _server(shared)) is not None:
        return wrong
    return "answering" if is_known(engine.layout, name) else "not known"


def _dns(record: Record, shared: Shared) -> str:
    if (wrong := _server(shared)) is not None:
        return wrong
    wanted = {address.partition("/")[0] for address in record.asked["link"]["addresses"]}
    heard = {address.partition("/")[0] for network, address in shared.dns.listening if network == record.key.name}
    return "answering" if wanted <= heard else "not listening"
