"""Lets the host forward packets, and keeps shut what it did not forward before.

Called by `network.py` before the first bridge. Forwarding is one switch for the whole host. Where we are the one who
turns it, the host's links of that moment are written down, in the run directory (which lives as long as the switch
does) and in the firewall's `unrouted` sets, and packets between two of them are dropped as before. Links that others
make later are none of our business.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets

from runtime.layout import Layout
from runtime.network import netlink, sysctl
from runtime.network.border import border
from runtime.network.firewall.table import ensure_table, unrouted_record
from runtime.network.links import all_links
from runtime.network.settings import FORWARDING

_OURS = re.compile(r"^tt[a-z][0-9a-f]{12}$")


@border("forwarding")
def ensure_forwarding(layout: Layout, version: int) -> None:
    """Turn forwarding of IP `version` on, the firewall's `unrouted` first. Raises Refused, RetryLater."""
    if sysctl.read_setting(FORWARDING[version]) == "1":
        return
    if not unrouted_record(layout, version).exists():
        _write_record(layout, version)
    ensure_table(layout)
    if version == 6:
        _keep_router_advertisements()
    sysctl.ensure_setting(FORWARDING[version], "1")


def _write_record(layout: Layout, version: int) -> None:
    """Networks are made at once by several threads: whichever writes first saw the links before any of them."""
    record = unrouted_record(layout, version)
    record.parent.mkdir(parents=True, exist_ok=True)
    temporary = record.with_name(f".{record.name}.{secrets.token_hex(4)}.new")
    temporary.write_text(json.dumps([name for name in _link_names() if name != "lo"]))
    try:
        with contextlib.suppress(FileExistsError):
            record.hardlink_to(temporary)
    finally:
        temporary.unlink()


def _keep_router_advertisements() -> None:
    """A host that forwards ignores router advertisements, and drops the routes it has of them, unless told 2."""
    for name in _link_names():
        if sysctl.read_setting(f"ipv6/conf/{name}/accept_ra") == "1":
            sysctl.ensure_setting(f"ipv6/conf/{name}/accept_ra", "2")


def _link_names() -> list[str]:
    """The host's links, an engine's own left out."""
    with netlink.route_socket() as opened:
        names = [link.name for link in all_links(opened)]
    return [name for name in names if not _OURS.match(name)]
