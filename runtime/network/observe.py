"""Endpoints as the kernel holds them, seen from inside each container, with what stands on the host's side.

Called by the reconciler. `read_host_links` is taken once for all containers of a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from runtime.layout import Layout
from runtime.network import netlink
from runtime.network.addresses import all_addresses, read_routes
from runtime.network.border import border
from runtime.network.bridge import IFF_UP, link_kind, observed_bridge
from runtime.network.endpoint import LOOPBACK
from runtime.network.namespace import inside, namespace_of
from runtime.network.naming import network_of_alias, port_group
from runtime.network.records import ObservedEndpoint, ObservedNetwork


@dataclass(frozen=True, slots=True)
class HostLink:
    """One link of the host; `master` is the index of the bridge it is a port of, 0 for none; `group` its devices'."""

    name: str
    up: bool
    master: int
    group: int


@border("network")
def read_host_links() -> dict[int, HostLink]:
    """Every link of the calling thread's namespace, by index. Raises Refused, RetryLater."""
    with netlink.route_socket() as opened:
        return {
            int(link["index"]): HostLink(
                name=str(link.get_attr("IFLA_IFNAME")),
                up=bool(link["flags"] & IFF_UP),
                master=int(link.get_attr("IFLA_MASTER") or 0),
                group=int(link.get_attr("IFLA_GROUP") or 0),
            )
            for link in netlink.dump(opened, ifinfmsg, netlink.RTM_GETLINK)
        }


@border("network")
def read_endpoints(
    pid: int, start_time: int | None = None, host: Mapping[int, HostLink] | None = None
) -> tuple[ObservedEndpoint, ...]:
    """Every link of the container of process `pid` but `lo`.

    Raises OSError; RetryLater and Refused as `namespace_of` does.
    """
    links = read_host_links() if host is None else host
    with namespace_of(pid, start_time) as namespace, inside(namespace), netlink.route_socket() as opened:
        found = netlink.dump(opened, ifinfmsg, netlink.RTM_GETLINK)
        addresses = all_addresses(opened)
        names = {int(link["index"]): str(link.get_attr("IFLA_IFNAME")) for link in found}
        routes = read_routes(opened, names)
    return tuple(
        ObservedEndpoint(
            interface=names[int(link["index"])],
            kind=link_kind(link),
            mac=str(link.get_attr("IFLA_ADDRESS")),
            mtu=int(link.get_attr("IFLA_MTU")),
            up=bool(link["flags"] & IFF_UP),
            addresses=addresses.get(int(link["index"]), frozenset()),
            routes=frozenset(route for route in routes if route.interface == names[int(link["index"])]),
            attached_to=_attached_to(link, links),
        )
        for link in found
        if link["index"] != LOOPBACK
    )


@border("network")
def read_bridges(layout: Layout) -> dict[str, ObservedNetwork]:
    """Every bridge of this engine by the name of its network, wanted or not. Raises Refused, RetryLater."""
    with netlink.route_socket() as opened:
        addresses = all_addresses(opened)
        bridges = [link for link in netlink.dump(opened, ifinfmsg, netlink.RTM_GETLINK) if link_kind(link) == "bridge"]
    mine = layout.link("b", "")[:-6]
    found = {}
    for link in bridges:
        network = network_of_alias(str(link.get_attr("IFLA_IFALIAS") or ""))
        if network and str(link.get_attr("IFLA_IFNAME")).startswith(mine):
            found[network] = observed_bridge(network, link, addresses.get(int(link["index"]), frozenset()))
    return found


def _attached_to(link: ifinfmsg, host: Mapping[int, HostLink]) -> str:
    other = host.get(int(link.get_attr("IFLA_LINK") or 0))
    if other is None or not other.up:
        return ""
    if link_kind(link) != "veth":
        return other.name
    master = host.get(other.master)
    # a port outside its bridge's group would escape the rules of nft's bridge family
    return master.name if master is not None and other.group == port_group(master.name) else ""
