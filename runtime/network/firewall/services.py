"""Balancing of Services: a virtual address, or a host port, turned over its replicas by the kernel.

Called by `runtime.network.service`; `depart.py` takes single replicas out. Per Service one chain and one map of
replicas for each family, one more chain for each published port; everything else is elements, marked with the
Service's name. Round robin by connection: packets of a connection follow its first. The client's address is kept,
since frames between containers of such a network come up to be routed.
"""

from __future__ import annotations

from runtime.kernel import nftables
from runtime.layout import Layout
from runtime.network.border import border
from runtime.network.firewall.balance import Parts, balance_of, parts_of, parts_wanted, replicas_map
from runtime.network.firewall.elements import commands
from runtime.network.firewall.listing import Listing
from runtime.network.firewall.networks import is_routed, router
from runtime.network.firewall.table import ensure_whole, firewall_lock, read_tables
from runtime.network.naming import bridge_name
from runtime.network.records import Address, NetworkWanted, ServiceBalance

_FAMILIES = {4: "ip", 6: "ip6"}


@border("firewall")
def ensure_balance(layout: Layout, network: NetworkWanted, wanted: ServiceBalance) -> frozenset[Address]:
    """Balance a Service as wanted, in one transaction; nothing when it is so already.

    Returns the virtual addresses that it had and is not to have. Raises Refused, RetryLater.
    """
    with firewall_lock(layout):
        inet, bridge = read_tables(layout)
        ensure_whole(layout, inet, bridge)
        link = bridge_name(layout, network)
        have = parts_of(inet).get(wanted.service, Parts())
        changes = _replacement(layout, have, wanted, link)
        if wanted.virtual_addresses and not is_routed(bridge, link):
            changes += commands(layout, (), {router(link)})
        if changes:
            nftables.run("\n".join(changes))
    return have.virtual_addresses - wanted.virtual_addresses


@border("firewall")
def remove_balance(layout: Layout, service: str) -> None:
    """Forget a Service; not knowing it is as good. Raises Refused, RetryLater."""
    with firewall_lock(layout):
        inet, bridge = read_tables(layout)
        everything = parts_of(inet)
        mine = everything.pop(service, Parts())
        changes = commands(layout, mine.elements, ())
        changes += _drop_chains(layout, mine, frozenset())
        changes += [f"delete map inet {layout.nft_table} {name}" for name in mine.maps]
        routed = {parts.link for parts in everything.values()}
        if mine.link and mine.link not in routed and _may_talk(inet, mine.link):
            changes += commands(layout, {router(mine.link)} if is_routed(bridge, mine.link) else (), ())
        if changes:
            nftables.run("\n".join(changes))


def link_of_service(inet: Listing, service: str) -> str:
    """The bridge that has the Service's virtual address; empty without one."""
    return parts_of(inet).get(service, Parts()).link


def read_balances(inet: Listing) -> dict[str, ServiceBalance]:
    """Every Service whose rules and elements are all as they were written, by name."""
    found = {service: balance_of(service, parts) for service, parts in parts_of(inet).items()}
    return {service: balance for service, balance in found.items() if balance is not None}


def _replacement(layout: Layout, have: Parts, wanted: ServiceBalance, link: str) -> list[str]:
    """Commands that make the Service as wanted; none when it is."""
    want = parts_wanted(wanted, link)
    if have == want:
        return []
    table = f"inet {layout.nft_table}"
    made: list[str] = []
    for version, family in _FAMILIES.items():
        name = replicas_map(wanted, version)
        made += [f"add map {table} {name} {{ typeof numgen inc mod 2 : {family} daddr; }}", f"flush map {table} {name}"]
    for chain in want.chains:
        made += [f"add chain {table} {chain}", f"flush chain {table} {chain}"]
    made += commands(layout, have.elements, want.elements)
    made += commands(layout, (), want.replicas)
    made += [f"add rule {table} {chain} {rule}" for chain, rules in want.chains.items() for rule in rules]
    made += _drop_chains(layout, have, frozenset(want.chains))
    return made + [f"delete map {table} {name}" for name in have.maps - want.maps]


def _drop_chains(layout: Layout, have: Parts, used: frozenset[str]) -> list[str]:
    table = f"inet {layout.nft_table}"
    gone = [name for name in have.chains if name not in used]
    return [f"flush chain {table} {name}" for name in gone] + [f"delete chain {table} {name}" for name in gone]


def _may_talk(inet: Listing, link: str) -> bool:
    return any(one.key == (link, link) and one.value == ("accept",) for one in inet.of("within"))
