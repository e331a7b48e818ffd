"""Lets the host forward packets, and keeps shut what it did not forward before.

Called by `network.py` before the first bridge. Forwarding is one switch for the whole host. Where we are the one who
turns it, the host's links of that moment are written down, in the run directory (which lives as long as the switch
does) and in the firewall's `unrouted` sets, and packets between two of them are dropped as before. Links that others
make later are none of our business.
"""

from __future__ import annotations

import json
from pathlib import Path

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from runtime.kernel import nftables
from runtime.layout import Layout
from runtime.network import netlink, sysctl
from runtime.network.border import border
from runtime.network.firewall.elements import all_of, commands, placed
from runtime.network.firewall.table import firewall_lock, is_whole, read_tables, write_table

_SWITCHES = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}


@border("forwarding")
def ensure_forwarding(layout: Layout, version: int) -> None:
    """Turn forwarding of IP `version` on, the firewall's `unrouted` first. Raises Refused, RetryLater."""
    if sysctl.read_setting(_SWITCHES[version]) == "1" and not _record(layout, version).exists():
        return
    with firewall_lock(layout):
        _write_unrouted(layout, version, _links_before(layout, version))
    if version == 6:
        _keep_router_advertisements()
    sysctl.ensure_setting(_SWITCHES[version], "1")


def read_forwarding(version: int) -> bool:
    """Whether the host forwards IP `version`."""
    return sysctl.read_setting(_SWITCHES[version]) == "1"


def _links_before(layout: Layout, version: int) -> list[str]:
    """The host's links when we turned the switch, written down before it is turned."""
    record = _record(layout, version)
    if record.exists():
        found: list[str] = json.loads(record.read_text())
        return found
    names = [name for name in _link_names() if name != "lo" and not name.startswith("tt")]
    temporary = record.with_suffix(".new")
    temporary.write_text(json.dumps(names))
    temporary.replace(record)
    return names


def _write_unrouted(layout: Layout, version: int, links: list[str]) -> None:
    inet, bridge = read_tables(layout)
    if not is_whole(inet, bridge):
        write_table(layout)
    name = f"unrouted{version}"
    changes = commands(layout, all_of(inet, (name,)), [placed(name, link) for link in links])
    if changes:
        nftables.run("\n".join(changes))


def _keep_router_advertisements() -> None:
    """A host that forwards ignores router advertisements, and drops the routes it has of them, unless told 2."""
    for name in _link_names():
        if sysctl.read_setting(f"ipv6/conf/{name}/accept_ra") == "1" and not name.startswith("tt"):
            sysctl.ensure_setting(f"ipv6/conf/{name}/accept_ra", "2")


def _link_names() -> list[str]:
    with netlink.route_socket() as opened:
        return [str(link.get_attr("IFLA_IFNAME")) for link in netlink.dump(opened, ifinfmsg, netlink.RTM_GETLINK)]


def _record(layout: Layout, version: int) -> Path:
    return layout.run / f"unrouted{version}.json"
