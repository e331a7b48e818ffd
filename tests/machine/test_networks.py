"""Networks on the real kernel: addresses, routes, names, ports, isolation; from inside, from the host, from outside."""

from __future__ import annotations

import ipaddress
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel.features.links import link_kind
from runtime.network.naming import port_group
from runtime.network.observe import read_endpoints
from runtime.network.records import ObservedEndpoint, Protocol
from schemas.errors import Invalid
from schemas.names import Kind
from tests.machine.machine import Machine, told
from tests.machine.probe import container, document, own_machine, refusal, run, seat
from tests.network.world import IMPATIENCE, Host, World
from tests.network.world import Machine as Seat

pytestmark = pytest.mark.kernel

UPLINK, OUTSIDE = "192.0.2.1", "192.0.2.9"


@dataclass
class Town:
    """An engine, and a world around it: the host, a machine outside, seats in containers."""

    machine: Machine
    world: World
    outside: Seat
    endpoint_facts: dict[str, Any]
    """Of each container, as the first plan wanted them."""
    seats: dict[str, Seat] = field(default_factory=dict)

    @property
    def host(self) -> Host:
        return self.world.host

    def at(self, name: str) -> Seat:
        """In the container's network namespace, where a server answers at port 80 of each family."""
        if name not in self.seats:
            made = self.seats[name] = seat(self.world, self.machine, name)
            for version in self.versions(name):
                for protocol in (Protocol.TCP, Protocol.UDP):
                    made.listen(80, protocol, version)
        return self.seats[name]

    def versions(self, name: str) -> set[int]:
        addresses = (a for endpoint in self.endpoints(name).values() for a in endpoint.addresses)
        return {address.version for address in addresses if not address.ip.is_link_local}

    def endpoints(self, name: str) -> dict[str, ObservedEndpoint]:
        return {endpoint.interface: endpoint for endpoint in read_endpoints(self.machine.process(name).pid)}

    def address(self, name: str, interface: str = "eth0", version: int = 4) -> str:
        found = self.endpoints(name)[interface].addresses
        return next(str(a.ip) for a in found if a.version == version and not a.ip.is_link_local)

    def inside(self, name: str, *command: str) -> str:
        """What a command of the host prints in the container's network namespace."""
        return seat_of(self, name).run(*command)


def seat_of(town: Town, name: str) -> Seat:
    return town.seats.get(name) or town.at(name)


@pytest.fixture(scope="module")
def town(busybox_tree: Path) -> Iterator[Town]:
    with own_machine(busybox_tree) as machine:
        world = World(machine.layout)
        try:
            outside = world.outside()
            make_parent(outside)
            machine.converge(manifests(machine))
            desired = machine.prepared.context.desired
            facts = {key.name: want.facts["endpoints"] for key, want in desired.items() if key.kind is Kind.CONTAINER}
            yield Town(machine, world, outside, facts)
        finally:
            world.close()


def make_parent(outside: Seat) -> None:
    """A link `parent0` of the host whose other end, with 10.88.0.1, is outside: for macvlan."""
    peer = f"/proc/{os.getpid()}/task/{outside.tid}/ns/net"
    subprocess.run(["ip", "link", "add", "parent0", "type", "veth", "peer", "name", "wire0", "netns", peer], check=True)
    subprocess.run(["ip", "link", "set", "parent0", "up"], check=True)
    outside.run("ip", "address", "add", "10.88.0.1/24", "dev", "wire0")
    outside.run("ip", "link", "set", "wire0", "up")


def pools(*pools: dict[str, Any]) -> dict[str, Any]:
    return {"config": list(pools)}


def networks() -> str:
    fixed = {"subnet": "10.77.0.0/24", "gateway": "10.77.0.254", "ip_range": "10.77.0.128/25"}
    return "".join(
        [
            document("Network", "front"),
            document("Network", "back"),
            document("Network", "dual", enable_ipv6=True),
            document("Network", "six", enable_ipv4=False, ipam=pools({"subnet": "fd99:6::/64"})),
            document("Network", "fixed", ipam=pools({**fixed, "aux_addresses": {"printer": "10.77.0.128"}})),
            document("Network", "several", ipam=pools({"subnet": "10.78.0.0/30"}, {"subnet": "10.79.0.0/24"})),
            document("Network", "inner", internal=True),
            document("Network", "apart", driver_opts={"enable_icc": False}),
            document("Network", "open", driver_opts={"isolation": False}),
            document("Network", "open-too", driver_opts={"isolation": False}),
            document("Network", "small", driver_opts={"mtu": 1400}),
            document("Network", "bound", enable_ipv6=True, driver_opts={"host_binding_ipv4": "127.0.0.1"}),
            document(
                "Network",
                "vlan",
                driver="macvlan",
                driver_opts={"parent": "parent0"},
                ipam=pools({"subnet": "10.88.0.0/24"}),
            ),
            document("Network", "as-host", driver="host"),
            document("Network", "as-none", driver="none"),
        ]
    )


def manifests(machine: Machine) -> str:
    mine = {"ipv4_address": "10.77.0.9", "mac_address": "02:00:00:00:77:09", "interface_name": "wan0"}
    return (
        machine.image
        + networks()
        + "".join(
            [
                container("one", networks=["front"], ports=["18080:80", "127.0.0.1:18081:80/udp", "80"]),
                container("two", networks={"front": {"aliases": ["twin", "second"]}}),
                container("three", networks=["back"]),
                container("both", networks=["front", "back"]),
                container("chosen", networks={"front": {}, "back": {"gw_priority": 1}}),
                container("ordered", networks={"front": {}, "back": {"priority": 5}}),
                container("mine", networks={"fixed": mine}),
                container("next", networks=["fixed"]),
                container("linked", networks={"front": {"link_local_ips": ["169.254.7.7"]}}),
                container("dual-a", networks=["dual"], ports=["18082:80"]),
                container("dual-b", networks=["dual"]),
                container("six-a", networks={"six": {"ipv6_address": "fd99:6::66"}}, ports=["[::]:18083:80"]),
                container("six-b", networks=["six"]),
                container("pool-1", networks=["several"]),
                container("pool-2", networks=["several"]),
                container("inner-a", networks=["inner"]),
                container("inner-b", networks=["inner", "front"]),
                container("apart-a", networks=["apart"]),
                container("apart-b", networks=["apart"]),
                container("open-a", networks=["open"]),
                container("open-b", networks=["open-too"]),
                container("small", networks=["small"]),
                container("bound", networks=["bound"], ports=["18084:80"]),
                container("vlan-a", networks=["vlan"]),
                container("vlan-b", networks=["vlan"], dns=["192.0.2.53"]),
                container("host-mode", network_mode="host", dns=["192.0.2.53"], extra_hosts=["db:192.0.2.7"]),
                container("host-net", networks=["as-host"]),
                container("none-mode", network_mode="none"),
                container("none-net", networks=["as-none"]),
                container("bridge-mode", network_mode="bridge"),
                container(
                    "resolver",
                    networks=["front"],
                    dns=["192.0.2.53"],
                    dns_search=["corp.example", "example.org"],
                    dns_opt=["timeout:1"],
                    extra_hosts=["host.internal:host-gateway", "db=192.0.2.7", "six:::7"],
                ),
                container("wanderer", networks=["front"]),
            ]
        )
    )


# addresses and routes


def test_a_container_has_an_address_of_its_network_and_a_way_out(town: Town) -> None:
    subnet = ipaddress.ip_network(
        town.inside("one", "ip", "-4", "route", "show", "dev", "eth0", "scope", "link").split()[0]
    )
    assert ipaddress.ip_address(town.address("one")) in subnet
    assert f"default via {subnet[1]}" in town.inside("one", "ip", "route")
    town.outside.listen(7777)
    answer = town.at("one").ask(OUTSIDE, 7777)
    assert answer == f"{town.outside.name} {UPLINK}"


def test_containers_of_one_network_reach_each_other_and_see_who_asks(town: Town) -> None:
    town.at("two")
    assert town.at("one").ask(town.address("two"), 80) == f"two {town.address('one')}"


def test_containers_of_other_networks_do_not(town: Town) -> None:
    town.at("three")
    assert town.at("one").ask(town.address("three"), 80, patience=IMPATIENCE) == "silence"


def test_several_networks_are_several_links(town: Town) -> None:
    assert set(town.endpoints("both")) == {"eth0", "eth1"}
    assert town.at("both").ask(town.address("two"), 80).startswith("two ")
    assert town.at("both").ask(town.address("three"), 80).startswith("three ")


def test_the_default_route_goes_by_the_highest_gateway_priority(town: Town) -> None:
    def way(name: str) -> str:
        return next(line.split()[4] for line in town.inside(name, "ip", "route").splitlines() if "default" in line)

    networks = dict.fromkeys(("chosen",), town.machine.prepared.context.desired)["chosen"]
    facts = next(want.facts["endpoints"] for key, want in networks.items() if key.name == "chosen")
    assert way("chosen") == facts["back"]["interface"]
    assert facts["front"]["gateways"] == []


def test_links_are_numbered_by_priority(town: Town) -> None:
    facts = town.endpoint_facts["ordered"]
    assert (facts["back"]["interface"], facts["front"]["interface"]) == ("eth0", "eth1")


def test_an_address_a_mac_and_a_name_may_be_fixed(town: Town) -> None:
    endpoint = town.endpoints("mine")["wan0"]
    assert (town.address("mine", "wan0"), endpoint.mac) == ("10.77.0.9", "02:00:00:00:77:09")


def test_addresses_come_from_the_range_without_those_set_aside(town: Town) -> None:
    assert town.address("next") == "10.77.0.129"
    assert "default via 10.77.0.254" in town.inside("next", "ip", "route")


def test_further_link_local_addresses_are_given(town: Town) -> None:
    assert "169.254.7.7/16" in {str(address) for address in town.endpoints("linked")["eth0"].addresses}


def test_a_second_pool_takes_what_the_first_has_not(town: Town) -> None:
    addresses = sorted(ipaddress.ip_address(town.address(name)) for name in ("pool-1", "pool-2"))
    assert [str(each) for each in addresses] == ["10.78.0.2", "10.79.0.2"]
    for name in ("pool-1", "pool-2"):
        gateway = town.address(name).rpartition(".")[0] + ".1"
        assert town.inside(name, "ip", "route").count("default") == 1
        assert f"default via {gateway}" in town.inside(name, "ip", "route")


def test_both_families_are_equal(town: Town) -> None:
    for version in (4, 6):
        town.at("dual-b")
        there, here = town.address("dual-b", version=version), town.address("dual-a", version=version)
        assert town.at("dual-a").ask(there, 80) == f"dual-b {here}"
    assert town.inside("dual-a", "ip", "-6", "route").count("default via fd") == 1


def test_a_network_may_have_ipv6_alone(town: Town) -> None:
    assert town.versions("six-a") == {6}
    town.at("six-b")
    assert town.address("six-a", version=6) == "fd99:6::66"
    assert town.at("six-a").ask(town.address("six-b", version=6), 80) == "six-b fd99:6::66"
    assert town.inside("six-a", "ip", "-4", "route") == ""


def test_automatic_subnets_keep_off_the_hosts_routes(town: Town) -> None:
    subprocess.run(["ip", "route", "add", "10.210.0.0/16", "dev", "up1"], check=True)
    try:
        town.machine.converge(town.machine.image + document("Network", "late") + container("late", networks=["late"]))
        assert not town.address("late").startswith("10.210.")
    finally:
        subprocess.run(["ip", "route", "del", "10.210.0.0/16", "dev", "up1"], check=True)


# what a network lets through


def test_an_internal_network_has_no_way_out(town: Town) -> None:
    town.outside.listen(7778)
    town.at("inner-b")
    assert "default" not in town.inside("inner-a", "ip", "route")
    inner = town.endpoint_facts["inner-b"]["inner"]["interface"]
    assert town.at("inner-a").ask(town.address("inner-b", inner), 80).startswith("inner-b ")
    assert town.at("inner-a").ask(OUTSIDE, 7778, patience=IMPATIENCE).startswith(("unreachable", "silence"))
    assert town.at("inner-b").ask(OUTSIDE, 7778) == f"{town.outside.name} {UPLINK}"


def test_a_network_may_keep_its_containers_apart(town: Town) -> None:
    town.at("apart-b")
    assert town.at("apart-a").ask(town.address("apart-b"), 80, patience=IMPATIENCE) == "silence"


def test_networks_may_be_open_to_each_other(town: Town) -> None:
    town.at("open-b")
    assert town.at("open-a").ask(town.address("open-b"), 80).startswith("open-b ")


def test_the_largest_packet_is_the_networks(town: Town) -> None:
    assert town.endpoints("small")["eth0"].mtu == 1400


def test_the_largest_packet_changes_in_place(town: Town) -> None:
    before = town.machine.process("small").pid
    text = document("Network", "small", driver_opts={"mtu": 1300}) + container("small", networks=["small"])
    town.machine.converge(town.machine.image + text)
    assert town.endpoints("small")["eth0"].mtu == 1300
    assert town.machine.process("small").pid == before


def test_what_a_network_lets_through_changes_in_place(town: Town) -> None:
    text = container("apart-a", networks=["apart"]) + container("apart-b", networks=["apart"])
    town.at("apart-b")
    town.machine.converge(town.machine.image + document("Network", "apart") + text)
    assert town.at("apart-a").ask(town.address("apart-b"), 80).startswith("apart-b ")
    closed = document("Network", "apart", driver_opts={"enable_icc": False})
    town.machine.converge(town.machine.image + closed + text)
    assert town.at("apart-a").ask(town.address("apart-b"), 80, patience=IMPATIENCE) == "silence"


# ports


def test_a_published_port_is_reached_from_outside_and_from_the_host(town: Town) -> None:
    town.at("one")
    assert town.outside.ask(UPLINK, 18080) == f"one {OUTSIDE}"
    assert town.host.ask("127.0.0.1", 18080).startswith("one ")
    assert town.at("two").ask(UPLINK, 18080).startswith("one ")


def test_a_port_at_one_address_of_the_host_is_reached_there_alone(town: Town) -> None:
    town.at("one")
    assert town.host.ask("127.0.0.1", 18081, Protocol.UDP).startswith("one ")
    assert town.outside.ask(UPLINK, 18081, Protocol.UDP, patience=IMPATIENCE) in ("silence", "refused")


def test_a_port_without_a_number_is_given_a_free_one_and_keeps_it(town: Town) -> None:
    def given() -> int:
        want = next(w for k, w in town.machine.prepared.context.desired.items() if k.name == "one")
        (at,) = (at for at in want.facts["published"] if not at.endswith((":18080", ":18081")))
        return int(at.rpartition(":")[2])

    town.machine.converge(manifests(town.machine))
    first = given()
    assert town.outside.ask(UPLINK, first) == f"one {OUTSIDE}"
    town.machine.converge(manifests(town.machine))
    assert given() == first


def test_a_port_of_two_families_is_published_in_both(town: Town) -> None:
    town.at("dual-a")
    assert town.outside.ask(UPLINK, 18082) == f"dual-a {OUTSIDE}"
    assert town.outside.ask("fd00:2::1", 18082) == "dual-a fd00:2::9"


def test_a_port_of_ipv6_alone_is_published(town: Town) -> None:
    town.at("six-a")
    assert town.outside.ask("fd00:2::1", 18083) == "six-a fd00:2::9"


def test_a_networks_own_address_of_the_host_counts_for_ports_that_name_none(town: Town) -> None:
    town.at("bound")
    assert town.host.ask("127.0.0.1", 18084).startswith("bound ")
    assert town.outside.ask(UPLINK, 18084, patience=IMPATIENCE) != f"bound {OUTSIDE}"
    assert town.outside.ask("fd00:2::1", 18084, patience=IMPATIENCE) != "bound fd00:2::9"


def test_ports_change_while_the_container_runs(town: Town) -> None:
    text = town.machine.image + document("Network", "front")
    before = town.machine.process("two").pid
    town.at("two")
    twin = {"front": {"aliases": ["twin", "second"]}}
    town.machine.converge(text + container("two", networks=twin, ports=["18090:80"]))
    assert town.outside.ask(UPLINK, 18090) == f"two {OUTSIDE}"
    town.machine.converge(text + container("two", networks=twin, ports=["18091:80"]))
    assert town.outside.ask(UPLINK, 18091) == f"two {OUTSIDE}"
    assert town.outside.ask(UPLINK, 18090, patience=IMPATIENCE) != f"two {OUTSIDE}"
    town.machine.converge(text + container("two", networks=twin))
    assert town.machine.process("two").pid == before


def test_a_port_nobody_could_reach_is_refused_with_its_place(town: Town) -> None:
    machine = town.machine
    inner = document("Network", "inner", internal=True) + container("x", networks=["inner"], ports=["18095:80"])
    assert "spec.ports[0]: cannot be published: all its networks are internal" in refusal(
        machine, machine.image + inner
    )
    six = container("x", networks=["front"], ports=["[::1]:18095:80"])
    text = machine.image + document("Network", "front") + six
    assert "cannot be published at ::1: it has no address of that family" in refusal(machine, text)


def test_a_port_the_host_uses_itself_is_refused_with_the_process(town: Town) -> None:
    town.host.listen(18096)
    text = town.machine.image + document("Network", "front") + container("x", networks=["front"], ports=["18096:80"])
    said = refusal(town.machine, text)
    assert "spec.ports[0]: the host already listens on tcp port 18096" in said


# names


def lookup(town: Town, name: str, what: str) -> str:
    return run(town.machine, name, "nslookup", what)


def test_names_and_aliases_are_answered_in_their_network_alone(town: Town) -> None:
    for name in ("two", "twin", "second", "two.front"):
        assert town.address("two") in lookup(town, "one", name)
    assert town.address("three") in lookup(town, "both", "three")
    assert town.address("two") in lookup(town, "both", "twin")
    with pytest.raises(AssertionError):
        lookup(town, "one", "three")


def test_an_address_has_a_name(town: Town) -> None:
    assert "two" in lookup(town, "one", town.address("two"))


def test_both_families_are_answered(town: Town) -> None:
    answer = lookup(town, "dual-a", "dual-b")
    assert town.address("dual-b") in answer and town.address("dual-b", version=6) in answer
    assert town.address("six-b", version=6) in lookup(town, "six-a", "six-b")


def test_resolv_conf_says_what_the_manifest_says(town: Town) -> None:
    lines = run(town.machine, "resolver", "cat", "/etc/resolv.conf").splitlines()
    gateway = next(line.split()[2] for line in town.inside("resolver", "ip", "route").splitlines() if "default" in line)
    assert lines == [f"nameserver {gateway}", "search corp.example example.org", "options timeout:1"]


def test_hosts_hold_what_the_manifest_adds(town: Town) -> None:
    lines = [line.split() for line in run(town.machine, "resolver", "cat", "/etc/hosts").splitlines()]
    hosts = {words[1]: words[0] for words in lines}
    gateway = next(line.split()[2] for line in town.inside("resolver", "ip", "route").splitlines() if "default" in line)
    assert (hosts["host.internal"], hosts["db"], hosts["six"]) == (gateway, "192.0.2.7", "::7")
    assert hosts["resolver"] == town.address("resolver")


def test_a_killed_container_is_no_longer_named(town: Town) -> None:
    from runtime.process import client
    from tests.machine.machine import until

    text = (
        town.machine.image + document("Network", "front") + container("mortal", networks=["front"], ports=["18097:80"])
    )
    town.machine.converge(text)
    address = town.address("mortal")
    assert address in lookup(town, "one", "mortal")
    os.kill(town.machine.process("mortal").pid, 9)
    client.wait(town.machine.layout, "mortal", 10)

    def is_unknown() -> bool:
        try:
            return address not in lookup(town, "one", "mortal")
        except AssertionError:
            return True

    until(is_unknown)
    until(lambda: town.outside.ask(UPLINK, 18097, patience=IMPATIENCE) == "refused")
    town.machine.converge(text)
    assert town.address("mortal") in lookup(town, "one", "mortal")


# modes and drivers


@pytest.mark.parametrize("name", ["host-mode", "host-net"])
def test_a_container_may_be_in_the_hosts_network(town: Town, name: str) -> None:
    assert "up1" in town.machine.inside(name, "/bin/ls", "/sys/class/net").split() or "up1" in run(
        town.machine, name, "cat", "/proc/net/dev"
    )


def test_in_the_hosts_network_the_manifests_names_count_too(town: Town) -> None:
    assert "192.0.2.7\tdb" in run(town.machine, "host-mode", "cat", "/etc/hosts")
    assert "nameserver 192.0.2.53" in run(town.machine, "host-mode", "cat", "/etc/resolv.conf")


@pytest.mark.parametrize("name", ["none-mode", "none-net"])
def test_a_container_may_have_no_network(town: Town, name: str) -> None:
    links = [line.split(":")[0].strip() for line in run(town.machine, name, "cat", "/proc/net/dev").splitlines()[2:]]
    assert [link for link in links if link not in ("tunl0", "sit0", "gre0", "ip6tnl0")][:1] == ["lo"]
    assert "eth0" not in links


def test_bridge_as_a_mode_is_the_default_network(town: Town) -> None:
    assert set(town.endpoints("bridge-mode")) == {"eth0"}


def test_macvlan_containers_are_on_the_parents_wire(town: Town) -> None:
    town.outside.listen(7779, address="10.88.0.1")
    here = town.address("vlan-a")
    assert town.at("vlan-a").ask("10.88.0.1", 7779) == f"{town.outside.name} {here}"
    town.at("vlan-b")
    assert town.at("vlan-a").ask(town.address("vlan-b"), 80).startswith("vlan-b ")
    assert run(town.machine, "vlan-b", "cat", "/etc/resolv.conf").splitlines()[0] == "nameserver 127.0.0.11"
    assert town.address("vlan-b") in lookup(town, "vlan-a", "vlan-b")


def test_a_parent_that_is_not_there_is_told(town: Town) -> None:
    said = refusal(town.machine, document("Network", "lost", driver="macvlan", driver_opts={"parent": "nowhere0"}))
    assert "spec.driver_opts.parent: there is no link nowhere0; name one of " in said


def test_ipvlan_works_where_the_kernel_has_it_and_is_refused_elsewhere(town: Town) -> None:
    vlan = document(
        "Network", "ip-vlan", driver="ipvlan", driver_opts={"parent": "up1"}, ipam=pools({"subnet": "10.89.0.0/24"})
    )
    text = town.machine.image + vlan + container("ip-vlan", networks=["ip-vlan"])
    try:
        link_kind("ipvlan", Path("/"))
    except OSError:
        assert "Network/ip-vlan" in refusal(town.machine, text)
        assert "ipvlan" in refusal(town.machine, text)
        return
    town.machine.converge(text)
    assert town.address("ip-vlan") == "10.89.0.2"
    assert "10.89.0.2" in lookup(town, "ip-vlan", "ip-vlan")


def test_a_network_of_the_host_stands_alone(town: Town) -> None:
    with pytest.raises(Invalid) as refused:
        text = document("Network", "as-host", driver="host") + document("Network", "front")
        town.machine.diff(town.machine.image + text + container("x", networks=["as-host", "front"]))
    assert "stands in place of all networks" in str(refused.value)


# live changes of attachments


def test_networks_are_joined_and_left_while_the_container_runs(town: Town) -> None:
    machine = town.machine
    text = machine.image + document("Network", "front") + document("Network", "back")
    before, first = machine.process("wanderer").pid, town.address("wanderer")
    machine.converge(text + container("wanderer", networks=["front", "back"]))
    assert set(town.endpoints("wanderer")) == {"eth0", "eth1"}
    assert town.address("wanderer", "eth0") == first
    town.at("three")
    assert seat_of(town, "wanderer").ask(town.address("three"), 80).startswith("three ")
    assert town.address("three") in lookup(town, "wanderer", "three")
    assert f"{town.address('wanderer', 'eth1')}\twanderer" in run(machine, "wanderer", "cat", "/etc/hosts")

    machine.converge(text + container("wanderer", networks=["back"]))
    assert set(town.endpoints("wanderer")) == {"eth1"}
    assert town.inside("wanderer", "ip", "route").count("default") == 1
    machine.converge(text + container("wanderer", networks={"back": {"interface_name": "lan0"}}))
    assert set(town.endpoints("wanderer")) == {"lan0"}
    machine.converge(text + container("wanderer", networks=["front"]))
    assert machine.process("wanderer").pid == before
    assert set(town.endpoints("wanderer")) == {"eth0"}


def test_a_link_into_a_network_that_nobody_asked_for_is_drift_and_taken_away(town: Town) -> None:
    machine, bridge = town.machine, town.machine.layout.link("b", "back")
    text = machine.image + document("Network", "front") + document("Network", "back")
    text += container("linked", networks={"front": {"link_local_ips": ["169.254.7.7"]}})
    pid = str(machine.process("linked").pid)
    ip = ["ip", "link"]
    subprocess.run([*ip, "add", "stray0", "type", "veth", "peer", "name", "eth9", "netns", pid], check=True)
    group = str(port_group(bridge))
    subprocess.run([*ip, "set", "stray0", "master", bridge, "group", group, "up"], check=True)
    assert any("drift: other_endpoints: eth9 → none" in line for line in told(machine.diff(text)))
    machine.converge(text)
    assert set(town.endpoints("linked")) == {"eth0"}


def test_an_alias_and_a_fixed_address_change_in_place(town: Town) -> None:
    machine = town.machine
    fixed = next(part for part in networks().split("---\n") if '"name": "fixed"' in part)
    before = machine.process("next").pid
    attachment = {"fixed": {"ipv4_address": "10.77.0.20", "aliases": ["renamed"]}}
    machine.converge(f"{machine.image}---\n{fixed}" + container("next", networks=attachment))
    assert town.address("next") == "10.77.0.20"
    assert "10.77.0.20" in lookup(town, "next", "renamed")
    assert machine.process("next").pid == before


def test_a_network_of_another_subnet_takes_its_containers_along(town: Town) -> None:
    machine = town.machine

    def text(subnet: str) -> str:
        network = document("Network", "moving", ipam=pools({"subnet": subnet}))
        return machine.image + network + container("mover", networks=["moving"])

    machine.converge(text("10.91.0.0/24"))
    before = machine.process("mover").pid
    machine.converge(text("10.92.0.0/24"))
    assert town.address("mover") == "10.92.0.2"
    assert machine.process("mover").pid == before
    town.outside.listen(7780)
    assert town.at("mover").ask(OUTSIDE, 7780) == f"{town.outside.name} {UPLINK}"


def test_a_network_made_anew_with_its_subnet_knows_its_containers(town: Town) -> None:
    machine = town.machine

    def text(**more: Any) -> str:
        network = document("Network", "anew", ipam=pools({"subnet": "10.93.0.0/24", **more}))
        return machine.image + network + container("asker", networks=["anew"]) + container("asked", networks=["anew"])

    machine.converge(text())
    machine.converge(text(aux_addresses={"spare": "10.93.0.99"}))
    assert town.address("asked") in lookup(town, "asker", "asked")


def test_a_network_of_another_set_is_used_as_external(town: Town) -> None:
    machine = town.machine
    guest = document("Network", "front", external=True) + container("guest", networks=["front"])
    machine.converge(guest, "guests")
    town.at("two")
    assert town.at("guest").ask(town.address("two"), 80).startswith("two ")
    town.seats.pop("guest").stop()
    machine.delete("guests")
    assert town.at("one").ask(town.address("two"), 80).startswith("two ")
    said = refusal(machine, document("Network", "nowhere", external=True), "guests")
    assert "is external, and there is no Network/nowhere" in said


def test_all_of_this_leaves_nothing_to_do(town: Town) -> None:
    text = manifests(town.machine)
    town.machine.converge(text)
    assert told(town.machine.diff(text)) == []
