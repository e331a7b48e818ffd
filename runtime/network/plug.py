"""The link itself that joins a container to a network: a veth pair on a bridge, or a macvlan or ipvlan of a parent.

Called by `endpoint.py`. One message creates it inside the container's namespace. Addresses and routes are not its
business.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterable
from typing import Any

from runtime.layout import Layout
from runtime.network import netlink
from runtime.network.addresses import has_unready
from runtime.network.links import IFF_UP, Link, find_link, link_index
from runtime.network.naming import bridge_name, endpoint_mac, has_own_mac, port_group
from runtime.network.records import Driver, EndpointWanted
from schemas.errors import Refused

LINK_KINDS = {Driver.BRIDGE: "veth", Driver.MACVLAN: "macvlan", Driver.IPVLAN: "ipvlan"}
"""What the kernel calls the link that a driver gives a container."""
MODES: dict[Driver, dict[str, int]] = {
    Driver.MACVLAN: {"bridge": 4, "private": 1, "vepa": 2, "passthru": 8},
    Driver.IPVLAN: {"l2": 0, "l3": 1, "l3s": 2},
}
"""if_link.h; the first is the default."""
_NAME_ATTEMPTS = 8
_ADDR_GEN_NONE = 1
"""IN6_ADDR_GEN_MODE_NONE"""
_ONE_QUEUE = {"IFLA_NUM_TX_QUEUES": 1, "IFLA_NUM_RX_QUEUES": 1}
_UP_ATTEMPTS, _UP_PAUSE = 200, 0.001  # seconds


def endpoint_mtu(wanted: EndpointWanted) -> int | None:
    """The wanted MTU in bytes, its own or the network's; None leaves the kernel's default."""
    return wanted.mtu if wanted.mtu is not None else wanted.network.mtu


def lower_link(layout: Layout, wanted: EndpointWanted) -> str:
    """The link on the host that the endpoint belongs to: the bridge, or the parent."""
    network = wanted.network
    return bridge_name(layout, network) if network.driver is Driver.BRIDGE else network.parent


def create_link(host: socket.socket, namespace: int, layout: Layout, wanted: EndpointWanted, pid: int) -> str:
    """Create the container's link, down, and its host side, up, whose name it returns (empty without one).

    Raises OSError, Refused without the driver.
    """
    lower = link_index(host, lower_link(layout, wanted))
    if wanted.network.driver is Driver.BRIDGE:
        return _create_veth(host, namespace, layout, wanted, pid, lower)
    try:
        netlink.transact(host, [_child_request(namespace, wanted, lower)])
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        driver = wanted.network.driver.value
        raise Refused(f"this kernel has no {driver}", step="network", errno=error.errno) from error
    return ""


def is_attached(host: socket.socket, wanted: EndpointWanted, layout: Layout, link: Link) -> bool:
    """Whether the container's `link` is of the right kind and its host side up, on the right bridge or parent."""
    if link.kind != LINK_KINDS.get(wanted.network.driver):
        return False
    other = find_link(host, index=link.lower) if link.lower else None
    lower = find_link(host, name=lower_link(layout, wanted))
    if other is None or lower is None or not other.up:
        return False
    if wanted.network.driver is Driver.BRIDGE:
        group = port_group(bridge_name(layout, wanted.network))
        return other.master == lower.index and other.group == group
    return other.index == lower.index


def _create_veth(
    host: socket.socket, namespace: int, layout: Layout, wanted: EndpointWanted, pid: int, bridge: int
) -> str:
    group = port_group(bridge_name(layout, wanted.network))
    # the pid is in the name: the link of a predecessor may still be dying with its namespace
    last: OSError
    for attempt in range(_NAME_ATTEMPTS):
        name = layout.link("v", f"{wanted.network.name}/{wanted.container}/{wanted.interface}/{pid}/{attempt}")
        try:
            requests = [_veth_request(name, namespace, wanted, bridge, group), _port_request(name, wanted)]
            netlink.transact(host, [*requests, _mute_request(name)])
            return name
        except FileExistsError as error:
            last = error
    raise last


def _veth_request(name: str, namespace: int, wanted: EndpointWanted, bridge: int, group: int) -> netlink.Request:
    peer: dict[str, Any] = {
        "IFLA_IFNAME": wanted.interface,
        "IFLA_ADDRESS": endpoint_mac(wanted),
        "IFLA_NET_NS_FD": namespace,
        **_ONE_QUEUE,
    }
    attributes: dict[str, Any] = {"IFLA_IFNAME": name, "IFLA_MASTER": bridge, "IFLA_GROUP": group, **_ONE_QUEUE}
    mtu = endpoint_mtu(wanted)
    if mtu is not None:
        attributes["IFLA_MTU"] = peer["IFLA_MTU"] = mtu
    attributes["IFLA_LINKINFO"] = _information("veth", [("VETH_INFO_PEER", {"attrs": list(peer.items())})])
    return netlink.link_request(
        netlink.RTM_NEWLINK,
        netlink.NLM_F_CREATE | netlink.NLM_F_EXCL,
        attributes=attributes,
        flags=IFF_UP,
        change=IFF_UP,
    )


def _port_request(name: str, wanted: EndpointWanted) -> netlink.Request:
    """Hairpin: where br_netfilter is on, a container that reaches itself by a virtual address is sent back its way."""
    information = {
        "attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": [("IFLA_BRPORT_MODE", 1)]})]
    }
    attributes = {
        "IFLA_IFNAME": name,
        "IFLA_IFALIAS": f"{wanted.container} {wanted.interface} on {wanted.network.name}",
        "IFLA_LINKINFO": information,
    }
    return netlink.link_request(netlink.RTM_NEWLINK, attributes=attributes)


def _mute_request(name: str) -> netlink.Request:
    """No link-local address for a port, which is nobody's to speak with: a thousand of them are three thousand routes
    of the host's, and whatever link changes, the kernel looks at each. A kernel without IPv6 has none."""
    quiet = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_NONE)]})]}
    return netlink.link_request(
        netlink.RTM_NEWLINK,
        tolerated=(errno.EAFNOSUPPORT,),
        attributes={"IFLA_IFNAME": name, "IFLA_AF_SPEC": quiet},
    )


def _child_request(namespace: int, wanted: EndpointWanted, parent: int) -> netlink.Request:
    driver = wanted.network.driver
    modes = MODES[driver]
    mode = modes[wanted.network.mode or next(iter(modes))]
    attributes: dict[str, Any] = {
        "IFLA_IFNAME": wanted.interface,
        "IFLA_LINK": parent,
        "IFLA_NET_NS_FD": namespace,
        "IFLA_LINKINFO": _information(driver.value, [(f"IFLA_{driver.name}_MODE", mode)]),
    }
    if has_own_mac(wanted):
        attributes["IFLA_ADDRESS"] = endpoint_mac(wanted)
    mtu = endpoint_mtu(wanted)
    if mtu is not None:
        attributes["IFLA_MTU"] = mtu
    return netlink.link_request(netlink.RTM_NEWLINK, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, attributes=attributes)


def _information(kind: str, data: list[tuple[str, Any]]) -> dict[str, Any]:
    return {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": data})]}


def wait_until_up(host: socket.socket, names: Iterable[str]) -> None:
    """Wait for the kernel to take notice that links have a carrier; until it does, it drops what they should carry.

    From Linux 6.8 on, asking makes it take notice at once; before, its work queue needs a moment.
    """
    for name in names:
        for _ in range(_UP_ATTEMPTS):
            link = find_link(host, name=name)
            if link is None or link.operational:
                break
            time.sleep(_UP_PAUSE)


def wait_until_ready(opened: socket.socket, index: int) -> None:
    """Wait for the kernel to let link `index` send from its IPv6 addresses, duplicates being looked for or not.

    Its work queue does that; what it is to ask the neighbours before, it asks a second later.
    """
    for _ in range(_UP_ATTEMPTS):
        if not has_unready(opened, index):
            break
        time.sleep(_UP_PAUSE)
