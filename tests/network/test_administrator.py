"""The administrator has the last word: every rule printed in docs/networking.md, with real packets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.kernel import nftables
from runtime.layout import Layout
from runtime.network.firewall.observe import read_firewall
from runtime.network.firewall.publications import publish
from runtime.network.firewall.table import ensure_table
from tests.network.world import IMPATIENCE, World, publication

pytestmark = pytest.mark.kernel

DEFAULT = Layout()
UPLINK = {4: "192.0.2.1", 6: "fd00:2::1"}
both = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])

CLOSED = """
table inet administrator {
  chain forward {
    type filter hook forward priority %s; policy drop;
    ct state established,related accept
    %s
  }
}
"""


@both
@pytest.mark.parametrize("priority", ["-10", "0", "10"])
def test_a_forward_policy_of_drop_closes_published_ports(any_world: World, version: int, priority: str) -> None:
    front, outside = any_world.network(), any_world.outside()
    any_world.container("web", front, 2)
    publish(any_world.layout, [publication(front, version, 2)])
    nftables.run(CLOSED % (priority, ""))
    assert outside.ask(UPLINK[version], 8080, patience=IMPATIENCE) == "silence"
    assert any_world.host.ask(UPLINK[version], 8080).startswith("web ")


@both
def test_a_closed_host_opens_one_published_port(world: World, version: int) -> None:
    front, outside = world.network(), world.outside()
    world.container("web", front, 2)
    publish(world.layout, [publication(front, version, 2), publication(front, version, 2, host_port=8081)])
    nftables.run(CLOSED % ("0", "ct status dnat meta l4proto 6 ct original proto-dst 8080 accept"))
    assert outside.ask(UPLINK[version], 8080).startswith("web ")
    assert outside.ask(UPLINK[version], 8081, patience=IMPATIENCE) == "silence"


@both
def test_a_closed_host_lets_containers_out(world: World, version: int) -> None:
    front, outside = world.network(), world.outside()
    outside.listen(80, version=version)
    web = world.container("web", front, 2)
    there = {4: "192.0.2.9", 6: "fd00:2::9"}[version]
    nftables.run(CLOSED % ("0", ""))
    assert web.ask(there, 80, patience=IMPATIENCE) == "silence"
    nftables.run('add rule inet administrator forward iifname "ttb*" accept')
    assert web.ask(there, 80).startswith("outside1 ")


@both
def test_one_rule_of_another_table_closes_one_published_port(world: World, version: int) -> None:
    front, outside = world.network(), world.outside()
    web = world.container("web", front, 2)
    publish(world.layout, [publication(front, version, 2), publication(front, version, 2, host_port=8081)])
    nftables.run(
        "table inet administrator { chain forward { type filter hook forward priority 5;"
        " ct status dnat meta l4proto 6 ct original proto-dst 8080 drop; }\n}"
    )
    assert outside.ask(UPLINK[version], 8080, patience=IMPATIENCE) == "silence"
    assert outside.ask(UPLINK[version], 8081).startswith("web ")
    assert web.ask(UPLINK[version], 8081).startswith("web ")


@both
@pytest.mark.parametrize("verdict", ["drop", "reject"])
def test_the_chain_user_vetoes_before_all_our_rules_and_is_kept(world: World, version: int, verdict: str) -> None:
    front, outside = world.network(), world.outside()
    world.container("web", front, 2)
    publish(world.layout, [publication(front, version, 2)])
    table = world.layout.nft_table
    nftables.run(f'add rule inet {table} user iifname "up1" meta l4proto 6 ct original proto-dst 8080 {verdict}')
    nftables.run(f"flush chain inet {table} ours")
    ensure_table(world.layout)
    assert read_firewall(world.layout).whole
    assert outside.ask(UPLINK[version], 8080, patience=IMPATIENCE) in ("silence", "refused", _UNREACHABLE)
    assert world.host.ask(UPLINK[version], 8080).startswith("web ")
    assert verdict in nftables.run(f"list chain inet {table} user")


_UNREACHABLE = "unreachable: No route to host"


def test_the_chain_user_may_allow_what_our_rules_would_not(world: World) -> None:
    front, back = world.network(), world.network("back", 2)
    web, _ = world.container("web", front, 2), world.container("db", back, 2)
    assert web.ask("10.2.0.2", 80, patience=IMPATIENCE) == "silence"
    nftables.run(f"add rule inet {world.layout.nft_table} user ip saddr 10.1.0.2 ip daddr 10.2.0.2 accept")
    assert web.ask("10.2.0.2", 80) == "db 10.1.0.2"
    assert web.ask("10.2.0.2", 81) == "refused"


def documented(world: World) -> list[str]:
    """The nft examples of docs/networking.md, for this engine and this world's uplink."""
    page = (Path(__file__).parents[2] / "docs/networking.md").read_text()
    found = re.findall(r"```nft\n(.*?)```", page, re.DOTALL)
    return [text.replace(DEFAULT.nft_table, world.layout.nft_table).replace('"eth0"', '"up1"') for text in found]


@both
def test_the_documented_rules_of_the_chain_user_do_what_they_say(world: World, version: int) -> None:
    front, outside = world.network(), world.outside()
    world.container("web", front, 2)
    publish(world.layout, [publication(front, version, 2), publication(front, version, 2, host_port=8081)])
    for rule in documented(world)[0].splitlines():
        nftables.run(rule)
    assert outside.ask(UPLINK[version], 8080, patience=IMPATIENCE) == "silence"
    assert outside.ask(UPLINK[version], 8081).startswith("web ")
    nftables.run(documented(world)[0].splitlines()[0].replace("192.0.2.0/24", "198.51.100.0/24"))
    assert outside.ask("192.0.2.1", 8081, patience=IMPATIENCE) == ("silence" if version == 4 else "refused")


@both
def test_the_documented_table_of_ones_own_does_what_it_says(world: World, version: int) -> None:
    front, outside = world.network(), world.outside()
    outside.listen(80, version=version)
    web = world.container("web", front, 2)
    publish(world.layout, [publication(front, version, 2), publication(front, version, 2, host_port=443)])
    nftables.run(documented(world)[1])
    assert outside.ask(UPLINK[version], 443).startswith("web ")
    assert outside.ask(UPLINK[version], 8080, patience=IMPATIENCE) == "silence"
    assert web.ask({4: "192.0.2.9", 6: "fd00:2::9"}[version], 80).startswith("outside1 ")


def test_the_documented_names_are_those_of_an_engine_without_options(world: World) -> None:
    assert len(documented(world)) == 2
    assert DEFAULT.nft_table in (Path(__file__).parents[2] / "docs/networking.md").read_text()
