"""One container's attachment to one network: plugged from outside, corrected, unplugged.

Called between create and start, and whenever a difference shows. All that is needed of the container is a pid: the
work is done on a netlink socket opened in its network namespace. A veth pair is one message (master, peer and the
peer's namespace in it); addresses and routes are one more datagram. `observe.py` reads endpoints back.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.layout import Layout
from runtime.network import netlink, sysctl
from runtime.network.addresses import read_addresses, read_routes
from runtime.network.border import border
from runtime.network.changes import (
    add_address,
    add_default_route,
    ask_for_neighbour,
    delete_address,
    delete_default_route,
    keep_at_port,
)
from runtime.network.links import IFF_UP, Link, find_link, link_index
from runtime.network.namespace import inside, namespace_of
from runtime.network.naming import endpoint_mac, has_own_mac
from runtime.network.plug import create_link, endpoint_mtu, is_attached, lower_link, wait_until_ready, wait_until_up
from runtime.network.records import Driver, EndpointWanted, Gateway
from runtime.network.settings import endpoint_settings

LOOPBACK = 1
"""Index of `lo` in every namespace."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """Netlink sockets of the host's and of the container's namespace, and a descriptor of the latter."""

    host: socket.socket
    container: socket.socket
    namespace: int


def ensure_endpoint(layout: Layout, wanted: EndpointWanted, pid: int, start_time: int | None = None) -> None:
    """Plug the container of process `pid` into its network, and correct what differs.

    `start_time` in clock ticks guards against a reused pid. Raises Refused, where the kernel lacks the driver or
    the process shares the host's network, and RetryLater, when the process or the bridge is gone.
    """
    if wanted.network.driver is Driver.HOST:
        return
    with border("network", f"Container/{wanted.container}"), _sockets(pid, start_time) as sockets:
        if wanted.network.driver is Driver.NONE:
            netlink.transact(sockets.container, [_up(LOOPBACK)])
        else:
            _ensure_plugged(layout, wanted, pid, sockets)


def remove_endpoint(interface: str, pid: int, start_time: int | None = None) -> None:
    """Take the link away from a container that lives on. One that is gone took its links along.

    About 15 ms, most of it the kernel's waiting for readers: off the critical path. Raises Refused, RetryLater.
    """
    with border("network", f"process {pid}"), _sockets(pid, start_time) as sockets:
        link = find_link(sockets.container, name=interface)
        if link is not None:
            _delete(sockets.container, link)


def _ensure_plugged(layout: Layout, wanted: EndpointWanted, pid: int, sockets: Sockets) -> None:
    link = find_link(sockets.container, name=wanted.interface)
    if link is not None and is_attached(sockets.host, wanted, layout, link):
        _configure_old(sockets.container, wanted, link)
        if wanted.network.driver is Driver.BRIDGE:
            _keep_at_port(sockets.host, wanted, link.lower)
        return
    if link is not None:
        _delete(sockets.container, link)
    port = create_link(sockets.host, sockets.namespace, layout, wanted, pid)
    if port:
        _keep_at_port(sockets.host, wanted, link_index(sockets.host, port))
    _configure_new(sockets.container, wanted)
    if port:
        wait_until_up(sockets.host, (port, lower_link(layout, wanted)))
    _announce(sockets.container, wanted)


@contextmanager
def _sockets(pid: int, start_time: int | None) -> Iterator[Sockets]:
    """The thread stays in the container's namespace meanwhile, for the sake of /proc/sys/net."""
    with (
        namespace_of(pid, start_time) as namespace,
        netlink.route_socket() as host,
        inside(namespace),
        netlink.route_socket() as container,
    ):
        yield Sockets(host, container, namespace)


def _configure_new(opened: socket.socket, wanted: EndpointWanted) -> None:
    index = socket.if_nametoindex(wanted.interface)
    _ensure_settings(wanted)
    requests = [_up(LOOPBACK), _up(index)]
    requests += [add_address(index, address) for address in wanted.addresses]
    requests += [add_default_route(index, gateway) for gateway in wanted.gateways]
    netlink.transact(opened, requests)


def _ensure_settings(wanted: EndpointWanted) -> None:
    with sysctl.own_proc() as proc:
        sysctl.ensure_interface_settings(wanted.interface, endpoint_settings(wanted), proc)


def _keep_at_port(opened: socket.socket, wanted: EndpointWanted, port: int) -> None:
    """A predecessor's port with the same hardware address may be dying still: the bridge is to know the new one."""
    netlink.transact(opened, [keep_at_port(port, endpoint_mac(wanted))])


def _announce(opened: socket.socket, wanted: EndpointWanted) -> None:
    """Neighbours may remember a predecessor with the same address and another hardware address."""
    index = socket.if_nametoindex(wanted.interface)
    versions = {address.version for address in wanted.addresses}
    gateways = [pool.gateway for pool in wanted.network.pools if pool.gateway and pool.gateway.version in versions]
    if 6 in versions:
        wait_until_ready(opened, index)
    netlink.transact(opened, [ask_for_neighbour(index, gateway) for gateway in gateways])


def _configure_old(opened: socket.socket, wanted: EndpointWanted, link: Link) -> None:
    index = link.index
    _ensure_settings(wanted)
    have = read_addresses(opened, index)
    routes = _default_routes(opened, wanted.interface)
    requests = [_up(LOOPBACK), *_corrections(wanted, link)]
    requests += [delete_address(index, address) for address in have - frozenset(wanted.addresses)]
    requests += [add_address(index, address) for address in wanted.addresses if address not in have]
    requests += [delete_default_route(index, gateway) for gateway in routes - frozenset(wanted.gateways)]
    # an address that goes takes routes along, so all are wanted again
    requests += [add_default_route(index, gateway) for gateway in wanted.gateways]
    netlink.transact(opened, requests)


def _corrections(wanted: EndpointWanted, link: Link) -> Iterator[netlink.Request]:
    attributes: dict[str, str | int] = {}
    if has_own_mac(wanted) and link.mac != endpoint_mac(wanted):
        attributes["IFLA_ADDRESS"] = endpoint_mac(wanted)
    mtu = endpoint_mtu(wanted)
    if mtu is not None and link.mtu != mtu:
        attributes["IFLA_MTU"] = mtu
    index = link.index
    yield netlink.link_request(netlink.RTM_NEWLINK, attributes=attributes, index=index, flags=IFF_UP, change=IFF_UP)


def _default_routes(opened: socket.socket, interface: str) -> frozenset[Gateway]:
    names = {socket.if_nametoindex(interface): interface}
    return frozenset(
        Gateway(route.gateway, 0 if route.subnet.version == 6 and route.metric == 1024 else route.metric)
        for route in read_routes(opened, names)
        if route.interface == interface and route.subnet.prefixlen == 0 and route.gateway is not None
    )


def _up(index: int) -> netlink.Request:
    return netlink.link_request(netlink.RTM_NEWLINK, attributes={}, index=index, flags=IFF_UP, change=IFF_UP)


def _delete(opened: socket.socket, link: Link) -> None:
    request = netlink.link_request(netlink.RTM_DELLINK, tolerated=(errno.ENODEV,), attributes={}, index=link.index)
    netlink.transact(opened, [request])
