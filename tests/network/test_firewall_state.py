"""The firewall reads back what was asked for, shows any damage by its owner, and is mended owner by owner."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from ipaddress import ip_address
from typing import Any

import pytest

from runtime.kernel import nftables
from runtime.layout import Layout
from runtime.network.firewall.base import BRIDGE_CHAINS, CHAINS
from runtime.network.firewall.networks import ensure_network_rules, remove_network_rules, rules_of
from runtime.network.firewall.observe import read_firewall
from runtime.network.firewall.publications import publish, unpublish
from runtime.network.firewall.table import ensure_table, remove_table
from runtime.network.records import Protocol, Publication
from tests.network.world import World, bridge_calls_iptables, network, publication

pytestmark = pytest.mark.kernel


def port(number: int, container: str = "web", address: str = "10.1.0.2") -> Publication:
    return Publication(container, Protocol.TCP, number, ip_address(address), 80)


def delete_first_rule(family: str, table: str, chain: str) -> None:
    listed = subprocess.run(
        ["nft", "-a", "list", "chain", family, table, chain], check=True, capture_output=True, text=True
    ).stdout
    handle = re.findall(r"# handle (\d+)", listed)[1]  # the chain's own is the first
    nftables.run(f"delete rule {family} {table} {chain} handle {handle}")


def test_nothing_was_made_yet_and_that_is_no_error(world: World) -> None:
    observed = read_firewall(world.layout)
    assert not observed.whole
    assert (observed.networks, observed.publications, observed.services) == ({}, frozenset(), {})


@pytest.mark.vm
def test_a_made_table_is_whole_and_making_it_again_changes_nothing(world: World) -> None:
    ensure_table(world.layout)
    before = nftables.run("list ruleset")
    ensure_table(world.layout)
    assert read_firewall(world.layout).whole
    assert nftables.run("list ruleset") == before


WITHOUT_NETBASE = """
import os
from pathlib import Path
from runtime.kernel import mount, namespaces
from runtime.layout import Layout
from runtime.network.firewall.table import ensure_table
namespaces.unshare(namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET)
mount.mount("", "/", flags=mount.MS_REC | mount.MS_PRIVATE)
for name in ("protocols", "services"):
    if os.path.exists(f"/etc/{name}"):
        mount.mount("/dev/null", f"/etc/{name}", flags=mount.MS_BIND)
ensure_table(Layout(Path(ROOT), Path(RUN)))
"""


def test_the_tables_need_no_names_of_protocols(layout: Layout) -> None:
    """A minimal Debian has no /etc/protocols, without which nft knows none of them by name."""
    script = f"ROOT, RUN = {str(layout.root)!r}, {str(layout.run)!r}\n{WITHOUT_NETBASE}"
    made = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize("damage", ["delete", "insert", "append"])
@pytest.mark.parametrize(
    ("family", "chain"),
    [("inet", chain.name) for chain in CHAINS] + [("bridge", chain.name) for chain in BRIDGE_CHAINS],
)
def test_any_change_to_any_rule_of_ours_shows_and_is_mended(world: World, family: str, chain: str, damage: str) -> None:
    ensure_table(world.layout)
    table = world.layout.nft_table
    before = nftables.run("list ruleset")
    if damage == "delete":
        delete_first_rule(family, table, chain)
    else:
        verb = {"insert": "insert", "append": "add"}[damage]
        nftables.run(f"{verb} rule {family} {table} {chain} ether saddr 02:00:00:00:00:09 accept")
    assert not read_firewall(world.layout).whole
    ensure_table(world.layout)
    assert read_firewall(world.layout).whole
    assert _without_mark(nftables.run("list ruleset")) == _without_mark(before)


def _without_mark(text: str) -> str:
    return re.sub(r"\tchain written-\w+ \{\n\t\}\n\n?", "", text)


def test_mending_the_rules_keeps_every_element_and_the_administrators_chain(world: World) -> None:
    front = world.network()
    wanted = publication(front, 4, 2)
    publish(world.layout, [wanted])
    nftables.run(f"add rule inet {world.layout.nft_table} user ip saddr 192.0.2.66 drop")
    delete_first_rule("inet", world.layout.nft_table, "forward")
    ensure_table(world.layout)
    observed = read_firewall(world.layout)
    assert observed.whole
    assert observed.networks == {"front": rules_of(world.layout, front)}
    assert observed.publications == {wanted}
    assert "192.0.2.66" in nftables.run(f"list chain inet {world.layout.nft_table} user")


NETWORK_DAMAGE = [
    "delete element inet {table} links {{ {link} }}",
    "delete element inet {table} within {{ {link} . {link} }}",
    "delete element inet {table} isolated {{ {link} }}",
    "delete element inet {table} masqueraded {{ {link} }}",
    "delete element inet {table} gateways4 {{ {link} . 10.1.0.1 }}",
    "delete element inet {table} all-gateways4 {{ 10.1.0.1 }}",
    "delete element inet {table} subnets6 {{ {link} . fd01:1::/64 }}",
    "add element inet {table} internal {{ {link} }}",
    "flush map bridge {table} routers",
    "flush set bridge {table} apart",
    "delete table bridge {table}",
    "flush ruleset",
]


@pytest.mark.parametrize("damage", NETWORK_DAMAGE)
def test_any_change_to_a_networks_elements_shows_and_is_mended(world: World, damage: str) -> None:
    front, back = world.network(icc=False), world.network("back", 2)
    whole = read_firewall(world.layout).networks
    assert whole == {"front": rules_of(world.layout, front), "back": rules_of(world.layout, back)}
    nftables.run(damage.format(table=world.layout.nft_table, link=f'"{world.layout.link("b", "front")}"'))
    observed = read_firewall(world.layout)
    assert observed.networks.get("front") != rules_of(world.layout, front)
    assert damage == "flush ruleset" or observed.networks["back"] == rules_of(world.layout, back)
    ensure_network_rules(world.layout, front)
    ensure_network_rules(world.layout, back)
    assert read_firewall(world.layout).networks == whole


@pytest.mark.parametrize(
    "options", [{}, {"icc": False}, {"internal": True}, {"isolated": False}, {"masquerade": False}]
)
def test_every_option_of_a_network_reads_back_and_changes_in_place(world: World, options: dict[str, Any]) -> None:
    world.network()
    changed = network(**options)
    ensure_network_rules(world.layout, changed)
    assert read_firewall(world.layout).networks == {"front": rules_of(world.layout, changed)}
    ensure_network_rules(world.layout, network())
    assert read_firewall(world.layout).networks == {"front": rules_of(world.layout, network())}


def test_a_removed_networks_elements_are_gone_and_its_neighbours_stay(world: World) -> None:
    world.network(icc=False)
    back = world.network("back", 2, icc=False)
    remove_network_rules(world.layout, world.layout.link("b", "front"))
    remove_network_rules(world.layout, world.layout.link("b", "front"))
    assert read_firewall(world.layout).networks == {"back": rules_of(world.layout, back)}
    assert world.layout.link("b", "front") not in nftables.run("list ruleset")


PUBLICATIONS = [
    Publication("web", Protocol.TCP, 8080, ip_address("10.1.0.2"), 80),
    Publication("web", Protocol.UDP, 8080, ip_address("10.1.0.2"), 80, incarnation="a1"),
    Publication("web", Protocol.SCTP, 8080, ip_address("10.1.0.2"), 80),
    Publication("web", Protocol.TCP, 8080, ip_address("fd01:1::2"), 80),
    Publication("web", Protocol.TCP, 8080, ip_address("10.1.0.2"), 81, host_address=ip_address("127.0.0.1")),
    Publication("a.b_c-d", Protocol.TCP, 8080, ip_address("fd01:1::3"), 81, host_address=ip_address("::1")),
]


@pytest.mark.vm
def test_publications_read_back_as_they_were_asked_for(world: World) -> None:
    publish(world.layout, PUBLICATIONS)
    publish(world.layout, PUBLICATIONS[:2])
    assert read_firewall(world.layout).publications == frozenset(PUBLICATIONS)
    unpublish(world.layout, "web", keep=PUBLICATIONS[1:2])
    unpublish(world.layout, "nobody")
    assert read_firewall(world.layout).publications == {PUBLICATIONS[1], PUBLICATIONS[5]}


REPLACED = (
    "delete element inet {table} ports4 {{ tcp . 8080 }}; "  # and added again, but for the end
    "add element inet {table} ports4 {{ tcp . 8080"
)


@pytest.mark.parametrize(
    "damage",
    [
        "delete element inet {table} ports4 {{ tcp . 8080 }}",
        REPLACED + ' comment "web" : 10.1.0.9 . 80 }}',
        REPLACED + " : 10.1.0.2 . 80 }}",
        REPLACED + ' comment "web older" : 10.1.0.2 . 80 }}',
        "flush map inet {table} ports4",
        "delete table inet {table}",
        "flush ruleset",
    ],
)
def test_any_change_to_a_published_port_shows_and_is_mended(world: World, damage: str) -> None:
    publish(world.layout, [port(8080), port(9090)])
    nftables.run(damage.format(table=world.layout.nft_table))
    assert port(8080) not in read_firewall(world.layout).publications
    publish(world.layout, [port(8080), port(9090)])
    observed = read_firewall(world.layout)
    assert {port(8080), port(9090)} <= observed.publications
    assert observed.whole


def test_what_others_put_into_our_table_is_left_and_does_not_confuse(world: World) -> None:
    publish(world.layout, [port(8080)])
    table = world.layout.nft_table
    nftables.run(
        f"add chain inet {table} theirs\n"
        f"add set inet {table} theirs {{ type ipv4_addr; flags timeout; }}\n"
        f"add element inet {table} theirs {{ 192.0.2.1 timeout 1h }}\n"
        f'add element inet {table} ports4 {{ tcp . 7 comment "by hand" : 10.1.0.7 . 7 }}\n'
        f"add element inet {table} ports4 {{ 33 . 7 : 10.1.0.7 . 7 }}\n"
        f"add element inet {table} balanced {{ tcp . 9 : goto theirs }}\n"
        f"add chain inet {table} service/ghost"
    )
    observed = read_firewall(world.layout)
    assert observed.whole
    assert observed.services == {}
    assert {one.container for one in observed.publications} == {"web", "by"}
    unpublish(world.layout, "web")
    assert "192.0.2.1" in nftables.run(f"list table inet {table}")


def test_a_changed_switch_of_br_netfilter_shows(world: World) -> None:
    ensure_table(world.layout)
    bridge_calls_iptables(True)
    assert not read_firewall(world.layout).whole
    ensure_table(world.layout)
    assert read_firewall(world.layout).whole


def test_a_removed_table_leaves_nothing(world: World) -> None:
    publish(world.layout, [port(8080)])
    remove_table(world.layout)
    remove_table(world.layout)
    assert nftables.run("list ruleset").strip() == ""


def test_many_threads_publish_at_once(world: World) -> None:
    """Each thread is in the main thread's namespace only by inheritance: they are born here."""
    failures: list[BaseException] = []

    def one(number: int) -> None:
        try:
            publish(world.layout, [port(8000 + number, f"c{number}")])
            if number % 2:
                unpublish(world.layout, f"c{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert read_firewall(world.layout).publications == {port(8000 + n, f"c{n}") for n in range(0, 12, 2)}


def test_a_thousand_published_ports_are_read_and_changed_quickly(world: World) -> None:
    many = frozenset(port(10000 + number, f"c{number}") for number in range(1000))
    publish(world.layout, many)
    begun = time.perf_counter()
    assert read_firewall(world.layout).publications == many
    read = time.perf_counter() - begun
    publish(world.layout, [port(9999)])
    changed = time.perf_counter() - begun - read
    unpublish(world.layout, "web")
    removed = time.perf_counter() - begun - read - changed
    assert max(read, changed, removed) < 0.5, (read, changed, removed)  # seconds; a quiet machine needs a tenth
