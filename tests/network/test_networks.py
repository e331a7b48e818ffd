"""Bridge networks on the host: made, read back, compared, mended, removed; and the host's own forwarding."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from runtime.kernel import nftables
from runtime.network import forwarding
from runtime.network.firewall.observe import read_firewall
from runtime.network.firewall.table import ensure_table, unrouted_record
from runtime.network.network import ensure_network, read_network, remove_network
from runtime.network.observe import read_bridges, read_host_links
from runtime.network.records import Driver, ObservedNetwork, Pool
from schemas.errors import Refused
from tests.network.differences import network_differences
from tests.network.world import IMPATIENCE, World, batch, network

pytestmark = pytest.mark.kernel

SYSCTL = Path("/proc/sys/net")


def observed(world: World, name: str = "front") -> ObservedNetwork:
    found = read_network(world.layout, name)
    assert found is not None
    return found


def test_a_network_reads_back_as_it_was_asked_for(world: World) -> None:
    front = world.network(mtu=1400)
    found = observed(world)
    assert (found.link, found.up, found.mtu) == (world.layout.link("b", "front"), True, 1400)
    assert {str(one) for one in found.addresses} == {"10.1.0.1/24", "fd01:1::1/64"}
    assert network_differences(front, found) == ()
    assert read_bridges(world.layout) == {"front": found}


def test_ensuring_again_changes_nothing(world: World) -> None:
    front = world.network()
    before = (observed(world), read_host_links(), nftables.run("list ruleset"))
    ensure_network(world.layout, front)
    assert (observed(world), read_host_links(), nftables.run("list ruleset")) == before


DRIFTS = {
    "the bridge was deleted": ("link del {link}", "the bridge is missing"),
    "the bridge is down": ("link set {link} down", "{link} is down"),
    "its address was removed": ("address del 10.1.0.1/24 dev {link}", "address 10.1.0.1/24 is missing"),
    "an address was added": ("address add 10.9.9.9/24 dev {link}", "address 10.9.9.9/24 is not wanted"),
    "its IPv6 address was removed": ("address del fd01:1::1/64 dev {link}", "address fd01:1::1/64 is missing"),
    "its mtu was changed": ("link set {link} mtu 1300", "mtu is 1300, not 1500"),
}


@pytest.mark.parametrize(("command", "word"), DRIFTS.values(), ids=DRIFTS)
def test_drift_of_a_bridge_shows_and_is_mended(world: World, command: str, word: str) -> None:
    front = world.network(mtu=1500)
    link = world.layout.link("b", "front")
    batch(command.format(link=link))
    assert word.format(link=link) in network_differences(front, read_network(world.layout, "front"))
    ensure_network(world.layout, front)
    assert network_differences(front, read_network(world.layout, "front")) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("ipv4.rp_filter", "0"), ("ipv4.route_localnet", "0"), ("ipv4.forwarding", "0"), ("ipv6.accept_ra", "2")],
)
def test_a_setting_of_the_bridge_that_was_changed_shows_and_is_mended(world: World, name: str, value: str) -> None:
    front = world.network()
    family, _, key = name.partition(".")
    (SYSCTL / family / "conf" / world.layout.link("b", "front") / key).write_text(value)
    assert network_differences(front, observed(world))[0].startswith(f"{name} is {value}, not ")
    ensure_network(world.layout, front)
    assert network_differences(front, observed(world)) == ()


def test_a_network_gets_another_subnet_in_place(world: World) -> None:
    world.network()
    moved = replace(network(), pools=network("x", 7).pools)
    ensure_network(world.layout, moved)
    assert network_differences(moved, observed(world)) == ()
    assert {str(one) for one in read_firewall(world.layout).networks["front"].gateways} == {"10.7.0.1", "fd01:7::1"}


def test_a_network_may_have_several_pools_and_one_without_gateway(world: World) -> None:
    pools = (
        *network().pools,
        Pool(ip_network("10.8.0.0/16"), ip_address("10.8.0.254")),
        Pool(ip_network("10.9.0.0/24")),
    )
    wide = replace(network(), pools=pools)
    ensure_network(world.layout, wide)
    assert network_differences(wide, observed(world)) == ()
    assert "10.8.0.254/16" in {str(one) for one in observed(world).addresses}


def test_a_network_may_name_its_bridge(world: World) -> None:
    wanted = world.network(link="br-mine")
    assert read_network(world.layout, "front") is None
    found = read_network(world.layout, "front", "br-mine")
    assert found is not None
    assert network_differences(wanted, found) == ()
    web = world.container("web", wanted, 2)
    assert world.host.ask("10.1.0.2", 80).startswith("web ")
    assert web.ask("10.1.0.2", 80).startswith("web ")


def test_a_link_of_another_kind_under_the_bridges_name_is_refused_and_left_alone(world: World) -> None:
    batch("link add br-mine type veth peer name other")
    with pytest.raises(Refused, match="br-mine that is no bridge"):
        world.network(link="br-mine")
    remove_network(world.layout, "front", "br-mine")
    assert "br-mine" in {link.name for link in read_host_links().values()}


def test_a_removed_network_leaves_nothing(world: World) -> None:
    back = world.network("back", 2)
    links, rules = read_host_links(), nftables.run("list ruleset")
    world.network()
    remove_network(world.layout, "front")
    remove_network(world.layout, "front")
    assert read_network(world.layout, "front") is None
    assert (read_host_links(), nftables.run("list ruleset")) == (links, rules)
    assert set(read_bridges(world.layout)) == {back.name}


def test_bridges_of_others_are_not_ours(world: World) -> None:
    batch("link add br0 type bridge", "link add ttb999999123456 type bridge")
    batch("link set ttb999999123456 alias 'trimtab network foreign'")
    assert read_bridges(world.layout) == {}


def test_macvlan_needs_only_its_parent(world: World) -> None:
    world.outside()
    before = {link.name: link.master for link in read_host_links().values()}
    ensure_network(world.layout, replace(network(), driver=Driver.MACVLAN, parent="up1"))
    assert {link.name: link.master for link in read_host_links().values()} == before
    assert network_differences(replace(network(), driver=Driver.MACVLAN), None) == ()


def setting(name: str) -> str:
    return (SYSCTL / name).read_text().strip()


@pytest.mark.vm
def test_a_host_that_did_not_forward_still_does_not_between_its_own_links(world: World) -> None:
    first, second = world.outside(1), world.outside(2)
    second.listen(80)
    second.listen(80, version=6)
    front = world.network()
    assert (setting("ipv4/ip_forward"), setting("ipv6/conf/all/forwarding")) == ("1", "1")
    for place in ("192.0.3.9", "fd00:3::9"):
        assert first.ask(place, 80, patience=IMPATIENCE) == "silence"
        assert world.container(f"c{place}", front, 2 + len(place), ports=()).ask(place, 80).startswith("outside2 ")


def test_that_holds_after_the_rules_were_flushed_and_mended(world: World) -> None:
    first, second = world.outside(1), world.outside(2)
    second.listen(80)
    front = world.network()
    nftables.run("flush ruleset")
    ensure_network(world.layout, front)
    assert first.ask("192.0.3.9", 80, patience=IMPATIENCE) == "silence"


def test_two_first_networks_made_at_once_agree_on_the_links_of_the_host(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second thread comes while the first is looking at the links, and is done before it."""
    world.outside(1)
    look = forwarding._link_names

    def slow() -> list[str]:
        monkeypatch.setattr(forwarding, "_link_names", look)
        forwarding.ensure_forwarding(world.layout, 4)
        return [*look(), "late0"]

    monkeypatch.setattr(forwarding, "_link_names", slow)
    forwarding.ensure_forwarding(world.layout, 4)
    record = unrouted_record(world.layout, 4)
    assert json.loads(record.read_text()) == ["up1"]
    assert [path.name for path in record.parent.iterdir() if path.suffix == ".new"] == []


def test_a_host_that_forwards_already_goes_on(world: World) -> None:
    first, second = world.outside(1), world.outside(2)
    second.listen(80)
    second.listen(80, version=6)
    (SYSCTL / "ipv4/ip_forward").write_text("1")
    (SYSCTL / "ipv6/conf/all/forwarding").write_text("1")
    world.network()
    assert first.ask("192.0.3.9", 80) == "outside2 192.0.2.9"
    assert first.ask("fd00:3::9", 80) == "outside2 fd00:2::9"


def test_links_that_others_make_later_are_forwarded_as_they_wish(world: World) -> None:
    world.network()
    first, second = world.outside(1), world.outside(2)
    second.listen(80)
    assert first.ask("192.0.3.9", 80) == "outside2 192.0.2.9"


def test_a_host_that_lives_by_router_advertisements_keeps_doing_so(world: World) -> None:
    world.outside()
    assert setting("ipv6/conf/up1/accept_ra") == "1"
    world.network()
    assert setting("ipv6/conf/up1/accept_ra") == "2"


def test_without_ipv6_in_any_network_the_host_forwards_none(world: World) -> None:
    plain = replace(network(), pools=network().pools[:1])
    ensure_network(world.layout, plain)
    assert (setting("ipv4/ip_forward"), setting("ipv6/conf/all/forwarding")) == ("1", "0")
    assert network_differences(plain, observed(world)) == ()


def test_two_networks_of_a_pool_each_take_the_forwarding_switch_once(world: World) -> None:
    world.network()
    world.network("back", 2)
    text = nftables.run(f"list set inet {world.layout.nft_table} unrouted4")
    assert "ttb" not in text


@pytest.mark.parametrize("version", [4, 6])
def test_forwarding_turned_off_by_hand_shows_and_is_mended(world: World, version: int) -> None:
    front = world.network()
    (SYSCTL / {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}[version]).write_text("0")
    assert f"the host does not forward IPv{version}" in network_differences(front, observed(world))
    ensure_network(world.layout, front)
    assert network_differences(front, observed(world)) == ()


def test_links_kept_apart_that_were_taken_from_the_rules_show_and_are_mended(world: World) -> None:
    world.outside()
    world.network()
    nftables.run(f"flush set inet {world.layout.nft_table} unrouted4")
    assert not read_firewall(world.layout).whole
    ensure_table(world.layout)
    assert read_firewall(world.layout).whole
    assert "up1" in nftables.run(f"list set inet {world.layout.nft_table} unrouted4")
