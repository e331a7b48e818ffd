"""A Service on its network: balancing rules and the addresses that answer for it.

Called by the reconciler whenever replicas come, go, or stop being fit. No process stands in the data path.
"""

from __future__ import annotations

import errno
from ipaddress import ip_interface

from runtime.layout import Layout
from runtime.network import netlink
from runtime.network.border import border
from runtime.network.changes import add_address, delete_address
from runtime.network.firewall.services import ensure_balance, link_of_service, read_balances, remove_balance
from runtime.network.firewall.table import read_tables
from runtime.network.links import link_index
from runtime.network.naming import bridge_name
from runtime.network.records import Address, NetworkWanted, ServiceBalance


def ensure_service(layout: Layout, network: NetworkWanted, wanted: ServiceBalance) -> None:
    """Balance the Service over its backends and let the bridge answer for its virtual addresses.

    The rules come first: the address alone would offer the host's own ports. Raises Refused, RetryLater.
    """
    with border("balance", f"Service/{wanted.service}"):
        stale = ensure_balance(layout, network, wanted)
        if stale or wanted.virtual_addresses:
            _change_addresses(bridge_name(layout, network), wanted.virtual_addresses, stale)


def remove_service(layout: Layout, service: str) -> None:
    """Take the Service's addresses from its bridge and its rules from the firewall. Raises Refused, RetryLater."""
    with border("balance", f"Service/{service}"):
        _remove_addresses(layout, service)
        remove_balance(layout, service)


def _remove_addresses(layout: Layout, service: str) -> None:
    inet, _ = read_tables(layout)
    balance, link = read_balances(inet).get(service), link_of_service(inet, service)
    if balance is None or not link:
        return
    try:
        _change_addresses(link, frozenset(), balance.virtual_addresses)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def _change_addresses(link: str, wanted: frozenset[Address], unwanted: frozenset[Address]) -> None:
    with netlink.route_socket() as opened:
        index = link_index(opened, link)
        requests = [delete_address(index, ip_interface(address)) for address in unwanted]
        netlink.transact(opened, requests + [add_address(index, ip_interface(address)) for address in wanted])
