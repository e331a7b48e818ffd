"""Endpoints as the kernel holds them, seen from inside each container, with what stands on the host's side.

Called by the reconciler. `read_host_links` is taken once for all containers of a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from runtime.layout import Layout
from runtime.network import netlink
from runtime.network.addresses import all_addresses, read_routes
from runtime.network.border import border
from runtime.network.bridge import is_single, observed_bridge
from runtime.network.endpoint import LOOPBACK
from runtime.network.links import Link, all_links, find_link
from runtime.network.namespace import inside, namespace_of
from runtime.network.naming import network_of_alias, port_group
from runtime.network.records import Address, ObservedEndpoint, ObservedNetwork

HostLink: TypeAlias = Link


@border("network")
def read_host_links() -> dict[int, HostLink]:
    """Every link of the calling thread's namespace, by index. Raises Refused, RetryLater."""
    with netlink.route_socket() as opened:
        return {link.index: link for link in all_links(opened)}


class AskedLinks(Mapping[int, HostLink]):
    """The same, one link at a time and only those asked for: for a pass over a few containers."""

    def __init__(self) -> None:
        self._found: dict[int, HostLink | None] = {}

    def __getitem__(self, index: int) -> HostLink:
        if index not in self._found:
            self._found[index] = _ask_link(index)
        found = self._found[index]
        if found is None:
            raise KeyError(index)
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(read_host_links())

    def __len__(self) -> int:
        return len(read_host_links())


@border("network")
def _ask_link(index: int) -> HostLink | None:
    if index <= 0:
        return None
    with netlink.route_socket() as opened:
        return find_link(opened, index=index)


@border("network")
def read_endpoints(
    pid: int, start_time: int | None = None, host: Mapping[int, HostLink] | None = None
) -> tuple[ObservedEndpoint, ...]:
    """Every link of the container of process `pid` but `lo`.

    Raises OSError; RetryLater and Refused as `namespace_of` does.
    """
    links = read_host_links() if host is None else host
    with namespace_of(pid, start_time) as namespace, inside(namespace), netlink.route_socket() as opened:
        found = all_links(opened)
        addresses = all_addresses(opened)
        routes = read_routes(opened, {link.index: link.name for link in found})
    return tuple(
        ObservedEndpoint(
            interface=link.name,
            kind=link.kind,
            mac=link.mac,
            mtu=link.mtu,
            up=link.up,
            addresses=addresses.get(link.index, frozenset()),
            routes=frozenset(route for route in routes if route.interface == link.name),
            attached_to=_attached_to(link, links),
        )
        for link in found
        if link.index != LOOPBACK
    )


@border("network")
def read_bridges(layout: Layout) -> dict[str, ObservedNetwork]:
    """Every bridge of this engine by the name of its network, wanted or not. Raises Refused, RetryLater."""
    with netlink.route_socket() as opened:
        addresses = all_addresses(opened)
        bridges = [link for link in all_links(opened) if link.kind == "bridge"]
    mine = layout.link("b", "")[:-6]
    found = {}
    for link in bridges:
        network = network_of_alias(link.alias)
        if network and link.name.startswith(mine):
            found[network] = observed_bridge(network, link, addresses.get(link.index, frozenset()))
    return found


@border("network")
def read_virtual_addresses(layout: Layout, networks: Iterable[str]) -> dict[str, frozenset[Address]]:
    """The single addresses on each network's bridge, in one dump; none where there is no bridge.

    Raises Refused, RetryLater.
    """
    with netlink.route_socket() as opened:
        links = {network: find_link(opened, name=layout.link("b", network)) for network in networks}
        addresses = all_addresses(opened)
    return {
        network: frozenset(one.ip for one in addresses.get(link.index, ()) if is_single(one)) if link else frozenset()
        for network, link in links.items()
    }


def _attached_to(link: Link, host: Mapping[int, HostLink]) -> str:
    other = host.get(link.lower)
    if other is None or not other.up:
        return ""
    if link.kind != "veth":
        return other.name
    master = host.get(other.master)
    # a port outside its bridge's group would escape the rules of nft's bridge family
    return master.name if master is not None and other.group == port_group(master.name) else ""
