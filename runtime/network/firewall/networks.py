"""What the firewall does for one network: elements of the sets in `base.py`, written and read back.

Called by the reconciler when the bridge stands, and by `observe.py`. A network's elements are found by its bridge's
name; the network's own name is the comment of its element in `links`.
"""

from __future__ import annotations

from ipaddress import ip_network

from runtime.kernel import nftables
from runtime.layout import Layout
from runtime.network.border import border
from runtime.network.firewall.elements import Placed, address_of, all_of, commands, placed, versioned
from runtime.network.firewall.listing import Listing
from runtime.network.firewall.table import ensure_whole, firewall_lock, read_tables
from runtime.network.naming import bridge_mac, bridge_name, port_group
from runtime.network.records import NetworkRules, NetworkWanted

_SETS = ("links", "internal", "isolated", "masqueraded", "within", "gateways4", "gateways6", "subnets4", "subnets6")
_ALL_GATEWAYS = ("all-gateways4", "all-gateways6")
_APART = ("goto", "apart")


def rules_of(layout: Layout, wanted: NetworkWanted) -> NetworkRules:
    """What the firewall is to do for a network: compare with `ObservedFirewall.networks`."""
    return NetworkRules(
        link=bridge_name(layout, wanted),
        internal=wanted.internal,
        icc=wanted.icc,
        isolated=wanted.isolated,
        masquerade=wanted.masquerade and not wanted.internal,
        gateways=frozenset(pool.gateway for pool in wanted.pools if pool.gateway is not None),
        subnets=frozenset(pool.subnet for pool in wanted.pools),
    )


@border("firewall")
def ensure_network_rules(layout: Layout, wanted: NetworkWanted) -> None:
    """Make the firewall treat the network's bridge as wanted, in one transaction. Raises Refused, RetryLater."""
    with firewall_lock(layout):
        inet, bridge = read_tables(layout)
        ensure_whole(layout, inet, bridge)
        rules = rules_of(layout, wanted)
        have = _of_link(inet, rules.link) | _ports_of(bridge, rules.link)
        want = _elements(wanted.name, rules)
        if not rules.icc or _has_service(inet, rules.link):
            want |= {router(rules.link)}
        changes = commands(layout, have, want)
        if changes:
            nftables.run("\n".join(changes))


@border("firewall")
def remove_network_rules(layout: Layout, link: str) -> None:
    """Take all elements of the bridge `link` away; having none is as good. Raises Refused, RetryLater."""
    with firewall_lock(layout):
        inet, bridge = read_tables(layout)
        gone = commands(layout, _of_link(inet, link) | _ports_of(bridge, link), ())
        if gone:
            nftables.run("\n".join(gone))


def read_network_rules(inet: Listing, bridge: Listing) -> dict[str, NetworkRules]:
    """By network's name, the rules of every network the tables know."""
    return {element.comment: _rules(inet, bridge, element.key[0]) for element in inet.of("links") if element.comment}


def router(link: str) -> Placed:
    """The element that sends unicast IP of the bridge's ports up to the host to be routed."""
    return placed("routers", port_group(link), value=(bridge_mac(link),), family="bridge")


def is_routed(bridge: Listing, link: str) -> bool:
    """Whether that element is there."""
    return router(link) in _ports_of(bridge, link)


def _rules(inet: Listing, bridge: Listing, link: str) -> NetworkRules:
    mine = _of_link(inet, link)
    names = {one.name for one in mine}
    verdict = next((one.element.value for one in mine if one.name == "within"), ())
    apart = verdict == _APART and {router(link), _apart(link)} <= _ports_of(bridge, link)
    return NetworkRules(
        link=link,
        internal="internal" in names,
        icc=verdict == ("accept",),
        isolated="isolated" in names,
        masquerade="masqueraded" in names,
        gateways=frozenset(address_of(one.element.key[1]) for one in mine if one.name.startswith("gateways")),
        subnets=frozenset(ip_network(one.element.key[1]) for one in mine if one.name.startswith("subnets")),
        whole=(apart or verdict == ("accept",)) and _has_all_gateways(mine),
    )


def _elements(name: str, rules: NetworkRules) -> frozenset[Placed]:
    link = rules.link
    switches = {"internal": rules.internal, "isolated": rules.isolated, "masqueraded": rules.masquerade}
    return frozenset(
        {
            placed("links", link, comment=name),
            placed("within", link, link, value=("accept",) if rules.icc else _APART),
            *(() if rules.icc else (_apart(link),)),
            *(placed(switch, link) for switch, on in switches.items() if on),
            *(placed(versioned("gateways", address), link, address) for address in rules.gateways),
            *(placed(versioned("all-gateways", address), address, comment=link) for address in rules.gateways),
            *(placed(f"subnets{subnet.version}", link, subnet) for subnet in rules.subnets),
        }
    )


def _of_link(inet: Listing, link: str) -> frozenset[Placed]:
    mine = frozenset(one for one in all_of(inet, _SETS) if one.element.key[0] == link)
    return mine | {one for one in all_of(inet, _ALL_GATEWAYS) if one.element.comment == link}


def _ports_of(bridge: Listing, link: str) -> frozenset[Placed]:
    group = (str(port_group(link)),)
    return frozenset(one for one in all_of(bridge, ("routers", "apart"), "bridge") if one.element.key == group)


def _apart(link: str) -> Placed:
    return placed("apart", port_group(link), family="bridge")


def _has_all_gateways(mine: frozenset[Placed]) -> bool:
    named = {one.element.key[1] for one in mine if one.name.startswith("gateways")}
    return named == {one.element.key[0] for one in mine if one.name in _ALL_GATEWAYS}


def _has_service(inet: Listing, link: str) -> bool:
    return any(one.element.key[0] == link for one in all_of(inet, ("near4", "near6")))
