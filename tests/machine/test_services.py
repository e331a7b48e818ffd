"""Services on the real kernel: one address balanced over replicas, names, ports, replicas that come, go and die."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine import open_engine
from reconciler.health import HealthStatus
from reconciler.observe.containers import init_word
from reconciler.store.health import Known, write_health
from reconciler.store.inventory import read_inventory
from runtime.network.records import Protocol
from runtime.process import client
from schemas.errors import Invalid
from schemas.names import Key, Kind
from tests.machine.machine import Machine, results, told, until
from tests.machine.probe import container, document, own_machine, refusal, run, seat
from tests.network.world import IMPATIENCE, World
from tests.network.world import Machine as Seat

pytestmark = pytest.mark.kernel

UPLINK, OUTSIDE = "192.0.2.1", "192.0.2.9"
SIX = "fd00:2::1"


@dataclass
class Town:
    """An engine, a machine outside, and seats in containers, each answering at port 80 with its name."""

    machine: Machine
    world: World
    outside: Seat
    seats: dict[str, tuple[int, Seat]] = field(default_factory=dict)

    def at(self, name: str) -> Seat:
        """In the container's network namespace: that of its process now."""
        pid = self.machine.process(name).pid
        if name not in self.seats or self.seats[name][0] != pid:
            made = seat(self.world, self.machine, name)
            for version in (4, 6):
                for protocol in (Protocol.TCP, Protocol.UDP):
                    made.listen(80, protocol, version)
            self.seats[name] = (pid, made)
        return self.seats[name][1]

    def seat_replicas(self, service: str, count: int) -> None:
        for number in range(1, count + 1):
            self.at(f"{service}-{number}")

    def balance(self, service: str, network: str = "front") -> dict[str, Any]:
        facts = self.machine.prepared.context.desired[Key(Kind.SERVICE, service)].facts
        found: dict[str, Any] = facts["balance"][network]
        return found

    def virtual(self, service: str, version: int = 4) -> str:
        return next(str(a) for a in self.balance(service)["virtual"] if (":" in a) == (version == 6))


@pytest.fixture(scope="module")
def town(busybox_tree: Path) -> Iterator[Town]:
    with own_machine(busybox_tree) as machine:
        world = World(machine.layout)
        try:
            outside = world.outside()
            machine.converge(manifests(machine))
            yield Town(machine, world, outside)
        finally:
            world.close()


@pytest.fixture(autouse=True)
def afresh(town: Town) -> None:
    town.machine.converge(manifests(town.machine))


def service(name: str, **spec: Any) -> str:
    return document("Service", name, **{"image": "busybox", "init": True, "networks": ["front"], **spec})


def manifests(machine: Machine) -> str:
    return machine.image + "".join(
        [
            document("Network", "front", enable_ipv6=True),
            document("Network", "side"),
            document("Network", "inner", internal=True),
            web(3),
            service("local", ports=["127.0.0.1:18180:80", "[::1]:18181:80"], deploy={"replicas": 2}),
            service("open4", ports=["0.0.0.0:18182:80"], deploy={"replicas": 1}),
            service("robin", deploy={"replicas": 2, "endpoint_mode": "dnsrr"}),
            service("wide", networks=["front", "side"], deploy={"replicas": 2}),
            service("none", deploy={"replicas": 0}, ports=["18183:80"]),
            service("each", ports=[{"target": 80, "published": "18190-18195", "mode": "host"}], deploy={"replicas": 2}),
            container("asker", networks=["front"]),
            container("sider", networks=["side"]),
        ]
    )


def web(replicas: int, **more: Any) -> str:
    return service("web", ports=["18184:80"], deploy={"replicas": replicas}, **more)


def answers(asker: Seat, address: str, port: int, count: int, protocol: Protocol = Protocol.TCP) -> Counter[str]:
    return Counter(asker.ask(address, port, protocol).split()[0] for _ in range(count))


def names(town: Town, asker: str, name: str) -> set[str]:
    """The addresses that a name has for a container."""
    lines = run(town.machine, asker, "nslookup", name).splitlines()
    found = [line.split()[-1] for line in lines if line.startswith("Address")]
    return set(found) - {found[0]}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_one_address_is_balanced_over_the_replicas_and_they_see_the_client(
    town: Town, version: int, protocol: Protocol
) -> None:
    town.seat_replicas("web", 3)
    found = answers(town.at("asker"), town.virtual("web", version), 80, 6, protocol)
    assert found == {"web-1": 2, "web-2": 2, "web-3": 2}
    seen = {town.at("asker").ask(town.virtual("web", version), 80, protocol).split()[1] for _ in range(2)}
    own = next(a for a in own_addresses(town, "asker") if (":" in a) == (version == 6))
    assert seen == {own}


def own_addresses(town: Town, name: str) -> set[str]:
    facts = town.machine.prepared.context.desired[Key(Kind.CONTAINER, name)].facts["endpoints"]
    return {address.partition("/")[0] for each in facts.values() for address in each["addresses"]}


def test_a_replica_reaches_its_own_service(town: Town) -> None:
    town.seat_replicas("web", 3)
    assert answers(town.at("web-1"), town.virtual("web"), 80, 6) == {"web-1": 2, "web-2": 2, "web-3": 2}


def test_a_service_has_its_name_and_its_tasks_have_theirs(town: Town) -> None:
    virtual = {town.virtual("web"), town.virtual("web", 6)}
    assert names(town, "asker", "web") == virtual
    replicas = {a for number in (1, 2, 3) for a in own_addresses(town, f"web-{number}")}
    assert names(town, "asker", "tasks.web") == replicas
    assert names(town, "asker", "web-2") == own_addresses(town, "web-2")


def test_a_service_without_an_address_of_its_own_is_balanced_by_its_name(town: Town) -> None:
    replicas = {a for number in (1, 2) for a in own_addresses(town, f"robin-{number}")}
    assert names(town, "asker", "robin") == replicas == names(town, "asker", "tasks.robin")
    assert town.balance("robin")["virtual"] == []


def test_a_published_port_is_balanced_in_both_families(town: Town) -> None:
    town.seat_replicas("web", 3)
    for address in (UPLINK, SIX):
        assert answers(town.outside, address, 18184, 6) == {"web-1": 2, "web-2": 2, "web-3": 2}
    assert answers(town.world.host, "127.0.0.1", 18184, 3) == {"web-1": 1, "web-2": 1, "web-3": 1}


def test_a_port_at_one_address_of_the_host_stays_there(town: Town) -> None:
    town.seat_replicas("local", 2)
    assert answers(town.world.host, "127.0.0.1", 18180, 4) == {"local-1": 2, "local-2": 2}
    for address, port in ((UPLINK, 18180), (SIX, 18180), (UPLINK, 18181), (SIX, 18181)):
        assert not town.outside.ask(address, port, patience=IMPATIENCE).startswith("local-")
    assert not town.world.host.ask(UPLINK, 18180, patience=IMPATIENCE).startswith("local-")
    assert not town.at("asker").ask(UPLINK, 18180, patience=IMPATIENCE).startswith("local-")


def test_a_port_of_one_family_is_not_published_in_the_other(town: Town) -> None:
    town.seat_replicas("open4", 1)
    assert answers(town.outside, UPLINK, 18182, 1) == {"open4-1": 1}
    assert not town.outside.ask(SIX, 18182, patience=IMPATIENCE).startswith("open4")


def test_each_replica_may_publish_by_itself(town: Town) -> None:
    town.seat_replicas("each", 2)
    found = Counter(town.outside.ask(UPLINK, port, patience=IMPATIENCE).split()[0] for port in range(18190, 18196))
    assert (found["each-1"], found["each-2"]) == (1, 1)


def test_a_service_is_balanced_on_each_of_its_networks(town: Town) -> None:
    town.seat_replicas("wide", 2)
    assert set(answers(town.at("asker"), town.virtual("wide"), 80, 4)) == {"wide-1", "wide-2"}
    (side,) = town.balance("wide", "side")["virtual"]
    assert set(answers(town.at("sider"), side, 80, 4)) == {"wide-1", "wide-2"}
    assert names(town, "sider", "wide") == {side}


def test_a_service_without_replicas_refuses_connections(town: Town) -> None:
    assert town.at("asker").ask(town.virtual("none"), 80) == "refused"


def test_a_replica_that_is_killed_leaves_the_balancing_and_the_names_by_itself(town: Town) -> None:
    town.seat_replicas("web", 3)
    os.kill(town.machine.process("web-2").pid, 9)
    client.wait(town.machine.layout, "web-2", 10)
    until(lambda: set(answers(town.at("asker"), town.virtual("web"), 80, 6)) == {"web-1", "web-3"})
    assert answers(town.at("asker"), town.virtual("web"), 80, 6) == {"web-1": 3, "web-3": 3}
    assert answers(town.outside, UPLINK, 18184, 6) == {"web-1": 3, "web-3": 3}
    gone = own_addresses(town, "web-2")
    until(lambda: not gone & names(town, "asker", "tasks.web"))
    plan = told(town.machine.diff(manifests(town.machine)))
    assert any("Container/web-2" in line and "killed by signal 9 → running" in line for line in plan)
    town.machine.converge(manifests(town.machine))
    town.seat_replicas("web", 3)
    assert set(answers(town.at("asker"), town.virtual("web"), 80, 6)) == {"web-1", "web-2", "web-3"}


def test_replicas_come_and_go_without_touching_the_others(town: Town) -> None:
    before = {name: town.machine.process(name).pid for name in ("web-1", "web-2")}
    front = town.machine.image + document("Network", "front", enable_ipv6=True)
    town.machine.converge(front + web(4))
    town.seat_replicas("web", 4)
    assert set(answers(town.at("asker"), town.virtual("web"), 80, 8)) == {"web-1", "web-2", "web-3", "web-4"}
    town.machine.converge(front + web(2))
    assert set(answers(town.at("asker"), town.virtual("web"), 80, 8)) == {"web-1", "web-2"}
    assert client.read_process(town.machine.layout, "web-3") is None
    assert {name: town.machine.process(name).pid for name in ("web-1", "web-2")} == before


def test_what_deploy_says_beside_replicas_changes_in_place_and_is_kept(town: Town) -> None:
    machine = town.machine
    before = {name: machine.process(name).pid for name in ("robin-1", "robin-2")}
    stored = {
        "labels": {"tier": "front"},
        "update_config": {"parallelism": 2, "delay": "10s", "order": "start-first"},
        "rollback_config": {"parallelism": 1, "monitor": "6s"},
        "restart_policy": {"condition": "on-failure", "max_attempts": 3},
    }
    wanted = service("robin", deploy={"replicas": 2, "endpoint_mode": "dnsrr", **stored})
    text = machine.image + document("Network", "front", enable_ipv6=True) + wanted
    machine.converge(text)
    assert {name: machine.process(name).pid for name in before} == before
    with open_engine(machine.layout) as engine:
        kept = read_inventory(engine.database)[Key(Kind.SERVICE, "robin")].manifest["spec"]["deploy"]
    assert kept["labels"] == stored["labels"] and kept["update_config"]["order"] == "start-first"
    assert kept["rollback_config"]["monitor"] == 6 and kept["restart_policy"]["max_attempts"] == 3


def test_the_services_address_stays_when_its_replicas_are_replaced(town: Town) -> None:
    before, virtual = town.machine.process("web-1").pid, town.virtual("web")
    front = town.machine.image + document("Network", "front", enable_ipv6=True)
    town.machine.converge(front + web(3, environment={"RELEASE": "2"}))
    assert town.virtual("web") == virtual
    assert town.machine.process("web-1").pid != before
    town.seat_replicas("web", 3)
    assert answers(town.at("asker"), virtual, 80, 6) == {"web-1": 2, "web-2": 2, "web-3": 2}


def test_a_ports_number_and_the_way_of_balancing_change_in_place(town: Town) -> None:
    before = town.machine.process("web-1").pid
    front = town.machine.image + document("Network", "front", enable_ipv6=True)
    moved = service("web", ports=["127.0.0.1:18185:80"], deploy={"replicas": 3})
    town.machine.converge(front + moved)
    town.seat_replicas("web", 3)
    assert set(answers(town.world.host, "127.0.0.1", 18185, 6)) == {"web-1", "web-2", "web-3"}
    assert not town.outside.ask(UPLINK, 18184, patience=IMPATIENCE).startswith("web")
    robin = service("web", deploy={"replicas": 3, "endpoint_mode": "dnsrr"})
    town.machine.converge(front + robin)
    assert names(town, "asker", "web") == {a for n in (1, 2, 3) for a in own_addresses(town, f"web-{n}")}
    assert town.machine.process("web-1").pid == before


def test_limits_of_deploy_are_the_replicas(town: Town) -> None:
    from runtime.kernel import cgroup

    front = town.machine.image + document("Network", "front", enable_ipv6=True)
    resources = {"limits": {"cpus": 0.5, "memory": "32m", "pids": 40}, "reservations": {"cpus": 0.25, "memory": "16m"}}
    town.machine.converge(front + service("lean", deploy={"replicas": 1, "resources": resources}))
    found = cgroup.read_limits(town.machine.layout.cgroup("lean-1"))
    assert found["cpu"]["quota"] / found["cpu"]["period"] == 0.5
    # v2 counts weights more coarsely
    assert found["cpu"]["shares"] == pytest.approx(256, rel=0.02)
    assert (found["memory"]["limit"], found["memory"]["reservation"]) == (32 << 20, 16 << 20)
    assert found["pids"]["limit"] == 40


def test_a_port_of_a_service_that_nobody_could_reach_is_refused(town: Town) -> None:
    inner = document("Network", "inner", internal=True)
    text = town.machine.image + inner + service("x", networks=["inner"], ports=["18189:80"])
    assert "Service/x spec.ports[0]: cannot be published: all its networks are internal" in refusal(town.machine, text)


def test_a_port_the_host_uses_at_that_address_is_refused(town: Town) -> None:
    town.world.host.listen(18188, address="127.0.0.1")
    front = town.machine.image + document("Network", "front", enable_ipv6=True)
    with pytest.raises(Invalid) as refused:
        town.machine.diff(front + service("x", ports=["127.0.0.1:18188:80"]))
    assert "the host already listens on tcp port 18188" in str(refused.value)
    assert told(town.machine.diff(front + service("x", ports=[f"{UPLINK}:18188:80"])))


def test_a_removed_service_leaves_nothing_in_the_firewall(town: Town) -> None:
    passing = service("passing", ports=["18187:80"])
    town.machine.converge(passing, "passing")
    table = ["nft", "list", "table", "inet", town.machine.layout.nft_table]
    assert "passing" in subprocess.run(table, capture_output=True, text=True, check=True).stdout
    town.machine.delete("passing")
    assert "passing" not in subprocess.run(table, capture_output=True, text=True, check=True).stdout
    with pytest.raises(AssertionError):
        names(town, "asker", "passing")


CHECK = {"test": ["CMD-SHELL", "[ ! -e /ill ]"], "interval": "50ms", "retries": 1}
HEALTHY = {"base": {"condition": "service_healthy"}}


def api(replicas: int, *ports: str) -> str:
    base = container("base", networks=["front"], healthcheck=CHECK)
    return base + service("api", ports=list(ports), depends_on=HEALTHY, deploy={"replicas": replicas})


def make_ill(town: Town) -> None:
    """As a daemon would have found it."""
    town.machine.inside("base", "touch", "/ill")
    with open_engine(town.machine.layout) as engine:
        known = Known(init_word(town.machine.process("base")), HealthStatus.UNHEALTHY)
        write_health(engine.database, {"base": known})


def kill(town: Town, name: str) -> None:
    os.kill(town.machine.process(name).pid, 9)
    client.wait(town.machine.layout, name, 10)


@pytest.fixture
def served(town: Town) -> Iterator[Town]:
    try:
        yield town
    finally:
        town.machine.delete("api")


def test_a_service_is_repaired_while_one_replica_cannot_start(served: Town) -> None:
    town, text = served, api(2, "18196:80")
    town.machine.converge(text, "api")
    town.seat_replicas("api", 2)
    make_ill(town)
    kill(town, "api-1")
    until(lambda: answers(town.outside, UPLINK, 18196, 2) == {"api-2": 2})
    subprocess.run(["nft", "flush", "table", "inet", town.machine.layout.nft_table], check=True)
    assert not town.outside.ask(UPLINK, 18196, patience=IMPATIENCE).startswith("api")
    found = results(town.machine.apply(text, "api"))
    assert (found["Container/api-1"], found["Service/api"]) == ("failed", "updated")
    assert answers(town.outside, UPLINK, 18196, 2) == {"api-2": 2}
    assert names(town, "asker", "api") == {town.virtual("api"), town.virtual("api", 6)}
    town.machine.inside("base", "rm", "/ill")
    town.machine.converge(text, "api")
    town.seat_replicas("api", 2)
    assert answers(town.outside, UPLINK, 18196, 4) == {"api-1": 2, "api-2": 2}


def test_a_new_replica_that_cannot_start_keeps_nothing_from_its_service(served: Town) -> None:
    town = served
    town.machine.converge(api(1, "18196:80"), "api")
    town.seat_replicas("api", 1)
    make_ill(town)
    found = results(town.machine.apply(api(2, "18197:80"), "api"))
    assert (found["Container/api-2"], found["Service/api"]) == ("failed", "updated")
    assert answers(town.outside, UPLINK, 18197, 2) == {"api-1": 2}
