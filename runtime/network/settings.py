"""What the interfaces of bridges and endpoints are set to, and why. Pure."""

from __future__ import annotations

from runtime.network.records import EndpointWanted, NetworkWanted

BRIDGE_BEHIND_RULES = {"ipv4.route_localnet": "1"}
"""Lets the host reach published ports at 127.0.0.1: set only behind the rules that keep containers from it."""
FORWARDING = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}
"""The host's forwarding, below /proc/sys/net, by IP version."""


def bridge_settings(wanted: NetworkWanted) -> dict[str, str]:
    """Settings of a bridge's interface.

    Reverse path checked; no router advertisement or redirect of a container obeyed (CVE-2020-13401); IPv6 off where
    the network has none, else usable at once (no duplicate address detection on a link that is ours alone).
    """
    settings = {"ipv4.rp_filter": "1", "ipv4.forwarding": "1", "ipv4.accept_redirects": "0"}
    if not any(pool.subnet.version == 6 for pool in wanted.pools):
        return settings | {"ipv6.disable_ipv6": "1"}
    return settings | {
        "ipv6.disable_ipv6": "0",
        "ipv6.accept_dad": "0",
        "ipv6.accept_ra": "0",
        "ipv6.accept_redirects": "0",
    }


def endpoint_settings(wanted: EndpointWanted) -> dict[str, str]:
    """Settings of a container's interface; those of the manifest win.

    IPv6 is off where the endpoint has none, else its addresses are usable at once and no neighbour's router
    advertisement is obeyed.
    """
    if any(address.version == 6 for address in wanted.addresses):
        own = {"ipv6.disable_ipv6": "0", "ipv6.accept_dad": "0", "ipv6.accept_ra": "0"}
    else:
        own = {"ipv6.disable_ipv6": "1"}
    return own | dict(wanted.sysctls)
