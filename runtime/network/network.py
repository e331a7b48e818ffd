"""One network on the host, whatever its driver: ensured, read back, removed.

Called by the reconciler. A bridge network is a bridge, forwarding, and the firewall's rules; macvlan and ipvlan need
their parent and nothing else of the host; host and none need nothing.
"""

from __future__ import annotations

from pathlib import Path

from runtime.layout import Layout
from runtime.network import netlink
from runtime.network.border import border
from runtime.network.bridge import ensure_bridge, read_bridge, remove_bridge
from runtime.network.firewall.networks import ensure_network_rules, remove_network_rules
from runtime.network.forwarding import ensure_forwarding
from runtime.network.links import link_index
from runtime.network.naming import bridge_name
from runtime.network.neighbours import ensure_room
from runtime.network.records import Driver, NetworkWanted, ObservedNetwork
from runtime.network.settings import BRIDGE_BEHIND_RULES
from runtime.network.sysctl import ensure_interface_settings
from schemas.errors import Refused


def ensure_network(layout: Layout, wanted: NetworkWanted) -> None:
    """Make the network's link and rules as wanted. Raises Refused, RetryLater."""
    hint = f"the host needs a link {wanted.parent}" if wanted.parent else ""
    with border("network", f"Network/{wanted.name}", hint):
        if wanted.driver is Driver.BRIDGE:
            _ensure_bridged(layout, wanted)
        elif wanted.driver in (Driver.MACVLAN, Driver.IPVLAN):
            _check_driver(wanted)
            _check_parent(wanted.parent)


def read_network(layout: Layout, name: str, link: str = "") -> ObservedNetwork | None:
    """The bridge of network `name` (`link` when the manifest names it) as the host has it; None without one.

    Raises Refused, RetryLater.
    """
    with border("network", f"Network/{name}"):
        return read_bridge(layout, name, link)


def remove_network(layout: Layout, name: str, link: str = "") -> None:
    """Remove the network's bridge and rules; having neither is as good. Raises Refused, RetryLater."""
    link = link or layout.link("b", name)
    with border("network", f"Network/{name}"):
        remove_bridge(link)
        remove_network_rules(layout, link)


def _ensure_bridged(layout: Layout, wanted: NetworkWanted) -> None:
    ensure_bridge(layout, wanted)
    for version in sorted({pool.subnet.version for pool in wanted.pools}):
        ensure_room(version)
        ensure_forwarding(layout, version)
    ensure_network_rules(layout, wanted)
    ensure_interface_settings(bridge_name(layout, wanted), BRIDGE_BEHIND_RULES)


def _check_parent(name: str) -> None:
    with netlink.route_socket() as opened:
        link_index(opened, name)


def _check_driver(wanted: NetworkWanted) -> None:
    """Refuse here what else every container would meet."""
    from runtime.kernel.features.links import link_kind

    try:
        link_kind(wanted.driver.value, Path("/"))
    except OSError as error:
        raise Refused(
            f"this kernel has no {wanted.driver.value}",
            object=f"Network/{wanted.name}",
            step="network",
            errno=error.errno,
            hint="use the driver bridge, or a kernel that has it",
        ) from error
