"""The bridge of one network: made, kept as wanted, read back, removed.

Called by `network.py`. Addresses of Services live on the same bridge as single addresses (/32, /128) and are none of
its business. Firewall rules are `firewall/`'s, endpoints `endpoint.py`'s.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from ipaddress import ip_interface
from typing import Any

from runtime.layout import Layout
from runtime.network import netlink, sysctl
from runtime.network.addresses import read_addresses
from runtime.network.changes import add_address, add_loopback_route, delete_address
from runtime.network.links import IFF_UP, Link, find_link
from runtime.network.naming import bridge_alias, bridge_mac, bridge_name
from runtime.network.records import Driver, Interface, NetworkWanted, ObservedNetwork
from runtime.network.settings import FORWARDING, bridge_settings

_OBSERVED = (
    "ipv4.rp_filter",
    "ipv4.forwarding",
    "ipv4.accept_redirects",
    "ipv4.route_localnet",
    "ipv6.disable_ipv6",
    "ipv6.accept_dad",
    "ipv6.accept_ra",
    "ipv6.accept_redirects",
)


def gateway_interfaces(wanted: NetworkWanted) -> frozenset[Interface]:
    """The bridge's own addresses."""
    return frozenset(
        ip_interface(f"{pool.gateway}/{pool.subnet.prefixlen}") for pool in wanted.pools if pool.gateway is not None
    )


def ensure_bridge(layout: Layout, wanted: NetworkWanted) -> None:
    """Make the bridge as wanted. Raises OSError; FileExistsError when the name belongs to another kind of link."""
    name = bridge_name(layout, wanted)
    with netlink.route_socket() as opened:
        netlink.transact(opened, [_create(name, wanted)])
        link = find_link(opened, name=name)
        if link is None or link.kind != "bridge":
            raise FileExistsError(errno.EEXIST, f"the host has a link {name} that is no bridge")
        sysctl.ensure_interface_settings(name, bridge_settings(wanted))
        netlink.transact(opened, list(_corrections(link, wanted, name)))
        index = link.index
        _ensure_addresses(opened, index, gateway_interfaces(wanted))
        if any(pool.subnet.version == 6 for pool in wanted.pools):
            netlink.transact(opened, [add_loopback_route(index)])


def read_bridge(layout: Layout, name: str, link: str = "") -> ObservedNetwork | None:
    """What the host holds for network `name`; None without a bridge."""
    link = link or layout.link("b", name)
    with netlink.route_socket() as opened:
        found = find_link(opened, name=link)
        if found is None or found.kind != "bridge":
            return None
        addresses = read_addresses(opened, found.index)
    return observed_bridge(name, found, addresses)


def observed_bridge(name: str, link: Link, addresses: frozenset[Interface]) -> ObservedNetwork:
    """The record of network `name` from its bridge's link and addresses."""
    return ObservedNetwork(
        name=name,
        driver=Driver.BRIDGE,
        link=link.name,
        up=link.up,
        mtu=link.mtu,
        addresses=frozenset(one for one in addresses if not is_single(one)),
        virtual_addresses=frozenset(one.ip for one in addresses if is_single(one)),
        settings=sysctl.read_interface_settings(link.name, _OBSERVED),
        forwards=frozenset(version for version, name in FORWARDING.items() if sysctl.read_setting(name) == "1"),
    )


def remove_bridge(name: str) -> None:
    """Delete the bridge; no bridge of that name is as good."""
    with netlink.route_socket() as opened:
        found = find_link(opened, name=name)
        if found is None or found.kind != "bridge":
            return
        gone = netlink.link_request(netlink.RTM_DELLINK, tolerated=(errno.ENODEV,), attributes={}, index=found.index)
        netlink.transact(opened, [gone])


def is_single(address: Interface) -> bool:
    """Whether it stands for itself alone (/32, /128), as a Service's address does."""
    return address.network.prefixlen == address.max_prefixlen


def _create(name: str, wanted: NetworkWanted) -> netlink.Request:
    attributes: dict[str, Any] = {
        "IFLA_IFNAME": name,
        "IFLA_ADDRESS": bridge_mac(name),
        "IFLA_LINKINFO": {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", _bridge_data())]},
    }
    if wanted.mtu is not None:
        attributes["IFLA_MTU"] = wanted.mtu
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
    return netlink.link_request(netlink.RTM_NEWLINK, flags, tolerated=(errno.EEXIST,), attributes=attributes)


def _bridge_data() -> dict[str, Any]:
    return {"attrs": [("IFLA_BR_FORWARD_DELAY", 0), ("IFLA_BR_STP_STATE", 0)]}


def _corrections(link: Link, wanted: NetworkWanted, name: str) -> Iterable[netlink.Request]:
    attributes: dict[str, Any] = {}
    if wanted.mtu is not None and link.mtu != wanted.mtu:
        attributes["IFLA_MTU"] = wanted.mtu
    if link.mac != bridge_mac(name):
        attributes["IFLA_ADDRESS"] = bridge_mac(name)
    if link.alias != bridge_alias(wanted.name):
        attributes["IFLA_IFALIAS"] = bridge_alias(wanted.name)
    if attributes or not link.up:
        yield netlink.link_request(
            netlink.RTM_NEWLINK, attributes=attributes, index=link.index, flags=IFF_UP, change=IFF_UP
        )


def _ensure_addresses(opened: socket.socket, index: int, wanted: frozenset[Interface]) -> None:
    have = frozenset(one for one in read_addresses(opened, index) if not is_single(one))
    changes = [delete_address(index, one) for one in sorted(have - wanted, key=str)]
    changes += [add_address(index, one) for one in sorted(wanted - have, key=str)]
    netlink.transact(opened, changes)
