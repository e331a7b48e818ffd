"""Containers that cannot reach the host (macvlan, ipvlan) are answered within their own network namespaces."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnslib import RCODE, RR, DNSRecord

from reconciler.prune import Pruning
from runtime.network.dns.inside import remove_inside
from runtime.network.dns.process import read_dns
from runtime.network.dns.records import read_inside
from runtime.network.records import Protocol
from tests.dns.conftest import Upstream, ask_tcp, ask_udp
from tests.machine.answering import kill
from tests.machine.machine import Machine, told, until
from tests.machine.probe import container, document, own_machine, run, seat
from tests.network.world import Machine as Seat
from tests.network.world import World

pytestmark = pytest.mark.kernel

HERE = "127.0.0.11"
PRUNING = Pruning(enabled=True)
NAMES = ("lone", "peer", "other", "twofold", "shut")


def wire(name: str, subnet: str, driver: str = "macvlan", **spec: object) -> str:
    pools = {"config": [{"subnet": subnet}]}
    return document("Network", name, driver=driver, driver_opts={"parent": f"p-{name}"}, ipam=pools, **spec)


def text(machine: Machine) -> str:
    return "".join(
        [
            machine.image,
            wire("lan", "10.88.0.0/24"),
            wire("elsewhere", "10.89.0.0/24"),
            wire("closed", "10.90.0.0/24", internal=True),
            document("Network", "front"),
            container("lone", networks={"lan": {"aliases": ["solitary"]}}),
            container("peer", networks=["lan"], dns=["10.88.0.1"]),
            container("other", networks=["elsewhere"]),
            container("twofold", networks=["front", "lan"]),
            container("shut", networks=["closed"]),
            document("Service", "web", image="busybox", init=True, networks=["lan"], deploy={"replicas": 2}),
        ]
    )


class Lan:
    """An engine on a host with three wires; at the other end of the first a resolver of that network's own."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.world = World(machine.layout)
        self.outside = self.world.outside()
        peer = f"/proc/{os.getpid()}/task/{self.outside.tid}/ns/net"
        for name in ("lan", "elsewhere", "closed"):
            ends = ["ip", "link", "add", f"p-{name}", "type", "veth", "peer", "name", f"w-{name}", "netns", peer]
            subprocess.run(ends, check=True)
            subprocess.run(["ip", "link", "set", f"p-{name}", "up"], check=True)
            self.outside.run("ip", "link", "set", f"w-{name}", "up")
        self.outside.run("ip", "address", "add", "10.88.0.1/24", "dev", "w-lan")
        self.seats: dict[str, Seat] = {}

    def ask(self, name: str, question: str, kind: str = "A", *, tcp: bool = False) -> tuple[str, list[str]]:
        """Reply code and answers that a client in the container's network namespace gets at 127.0.0.11."""
        if name not in self.seats:
            self.seats[name] = seat(self.world, self.machine, name)
        packet = bytes(DNSRecord.question(question, kind).pack())
        with self.seats[name].within():
            reply = DNSRecord.parse((ask_tcp if tcp else ask_udp)(packet, HERE, None if not tcp else HERE, 10))
        return str(RCODE[reply.header.rcode]), sorted(str(record.rdata) for record in reply.rr)

    def address(self, name: str, network: str) -> str:
        desired = self.machine.prepared.context.desired
        facts = next(want.facts for key, want in desired.items() if key.name == name and "endpoints" in want.facts)
        return str(facts["endpoints"][network]["addresses"][0].partition("/")[0])


@pytest.fixture(scope="module")
def lan(busybox_tree: Path) -> Iterator[Lan]:
    with own_machine(busybox_tree) as machine:
        made = Lan(machine)
        try:
            machine.converge(text(machine))
            yield made
        finally:
            made.world.close()


def descriptors(lan: Lan) -> int:
    return len(list(Path(f"/proc/{read_dns(lan.machine.layout).pid}/fd").iterdir()))


def answer(question: DNSRecord, over_tcp: bool) -> bytes:
    """What the wire's own resolver says to everything."""
    reply = question.reply()
    reply.add_answer(*RR.fromZone(f"{question.q.qname} 60 A 192.0.2.77"))
    return bytes(reply.pack())


@pytest.mark.parametrize("tcp", [False, True])
def test_names_aliases_services_and_addresses_are_answered(lan: Lan, tcp: bool) -> None:
    lone, peer = lan.address("lone", "lan"), lan.address("peer", "lan")
    assert lan.ask("lone", "peer", tcp=tcp) == ("NOERROR", [peer])
    for name in ("lone", "solitary", "lone.lan"):
        assert lan.ask("peer", name, tcp=tcp) == ("NOERROR", [lone])
    replicas = sorted(lan.address(f"web-{number}", "lan") for number in (1, 2))
    for name in ("web", "tasks.web"):
        assert lan.ask("lone", name, tcp=tcp) == ("NOERROR", replicas)
    reverse = ".".join(reversed(peer.split("."))) + ".in-addr.arpa"
    assert lan.ask("lone", reverse, "PTR", tcp=tcp) == ("NOERROR", ["peer.lan."])


def test_the_containers_own_tools_find_the_server(lan: Lan) -> None:
    assert run(lan.machine, "lone", "cat", "/etc/resolv.conf").splitlines()[0] == f"nameserver {HERE}"
    assert lan.address("peer", "lan") in run(lan.machine, "lone", "nslookup", "peer")


def test_no_container_sees_names_of_networks_it_is_not_in(lan: Lan) -> None:
    assert lan.ask("other", "lone") == ("NXDOMAIN", [])
    assert lan.ask("lone", "other") == ("NXDOMAIN", [])
    assert lan.ask("other", "other") == ("NOERROR", [lan.address("other", "elsewhere")])


def test_a_container_on_a_bridge_too_asks_there_and_sees_the_names_of_both(lan: Lan) -> None:
    first = run(lan.machine, "twofold", "cat", "/etc/resolv.conf").splitlines()[0]
    assert first.startswith("nameserver ") and first != f"nameserver {HERE}"
    assert lan.address("lone", "lan") in run(lan.machine, "twofold", "nslookup", "lone")
    assert lan.ask("lone", "twofold") == ("NOERROR", [lan.address("twofold", "lan")])


@pytest.mark.parametrize("tcp", [False, True])
def test_a_resolver_that_only_the_container_reaches_is_asked_from_there(lan: Lan, tcp: bool) -> None:
    with lan.outside.within():
        resolver = Upstream("10.88.0.1", answer)
    try:
        for number in range(20):
            assert lan.ask("peer", f"n{number}.example.org", tcp=tcp) == ("NOERROR", ["192.0.2.77"])
        assert tcp or len(resolver.ports) > 10
    finally:
        with lan.outside.within():
            resolver.close()


def test_an_internal_network_forwards_nothing(lan: Lan) -> None:
    assert lan.ask("shut", "example.org") == ("NXDOMAIN", [])
    assert lan.ask("shut", "shut") == ("NOERROR", [lan.address("shut", "closed")])


def test_a_container_may_be_a_dns_server_itself(lan: Lan) -> None:
    lan.ask("lone", "peer")
    for protocol in (Protocol.UDP, Protocol.TCP):
        lan.seats["lone"].listen(53, protocol)
    assert lan.ask("lone", "peer") == ("NOERROR", [lan.address("peer", "lan")])
    assert lan.ask("lone", "peer", tcp=True) == ("NOERROR", [lan.address("peer", "lan")])


def test_a_killed_server_is_drift_and_the_next_one_takes_up_every_container(lan: Lan) -> None:
    before = {name: lan.machine.process(name).pid for name in NAMES}
    asked = read_dns(lan.machine.layout)
    assert asked.pid is not None
    kill(asked.pid)
    plan = lan.machine.diff(text(lan.machine))
    assert "Network/lan" in " ".join(told(plan)) and "drift" in " ".join(told(plan))
    lan.machine.converge(text(lan.machine))
    assert read_dns(lan.machine.layout).inside == asked.inside
    for tcp in (False, True):
        assert lan.ask("lone", "peer", tcp=tcp) == ("NOERROR", [lan.address("peer", "lan")])
    assert {name: lan.machine.process(name).pid for name in NAMES} == before


def test_a_container_whose_sockets_the_server_lost_is_answered_again(lan: Lan) -> None:
    remove_inside(lan.machine.layout, "lone")
    until(lambda: "lone" not in read_dns(lan.machine.layout).inside)
    assert [line for line in told(lan.machine.diff(text(lan.machine))) if "resolver" in line]
    lan.machine.converge(text(lan.machine))
    assert lan.ask("lone", "peer")[0] == "NOERROR"


def test_a_container_that_moves_between_bridge_and_wire_is_answered_on_either(lan: Lan) -> None:
    machine, moved = lan.machine, "mover"
    for networks in (["front"], ["lan"], ["front"], ["lan"]):
        machine.converge(text(machine) + container(moved, networks=networks))
        beside = "lone" if networks == ["lan"] else "twofold"
        address = lan.address(beside, networks[0])
        assert address in run(machine, moved, "nslookup", beside)
        assert (moved in read_dns(machine.layout).inside) == (networks == ["lan"])
    machine.converge(text(machine), pruning=PRUNING)


def test_a_namespace_ends_with_its_container(lan: Lan) -> None:
    """One socket held would keep it, and the link in it."""
    machine, layout, before = lan.machine, lan.machine.layout, descriptors(lan)
    names = [f"brief-{number}" for number in range(10)]
    brief = "".join(container(name, networks=["lan"], dns=["10.88.0.1"], stop_grace_period="0s") for name in names)
    for number in range(5):
        machine.apply(text(machine) + brief)
        assert set(names) <= read_dns(layout).inside.keys()
        if number % 2:
            kill(*(machine.process(name).pid for name in names))
        machine.apply(text(machine), pruning=PRUNING)
    until(lambda: not set(names) & (read_dns(layout).inside.keys() | read_inside(layout).keys()))
    until(lambda: descriptors(lan) <= before)
