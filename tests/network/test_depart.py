"""A container's farewell, with no engine running: its ports and its place in the balancing are gone at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime.kernel import nftables
from runtime.layout import Layout
from runtime.network import depart as program
from runtime.network.conntrack import forget_connections
from runtime.network.depart import hook, main
from runtime.network.firewall.observe import read_firewall
from runtime.network.firewall.publications import publish
from runtime.network.records import Backend, Protocol, ServiceBalance, ServicePort
from runtime.network.service import ensure_service
from tests.network.ways import both_families
from tests.network.world import IMPATIENCE, World, address, network, publication

pytestmark = pytest.mark.kernel


def depart(layout: Layout, container: str, incarnation: str = "") -> set[str]:
    return program.depart(layout.nft_table, str(layout.run), container, incarnation)


def balance(*replicas: tuple[str, int], incarnation: str = "") -> ServiceBalance:
    front = network()
    backends = frozenset(
        Backend(name, address(front, version, number), incarnation) for name, number in replicas for version in (4, 6)
    )
    virtual = frozenset(address(front, version, 100) for version in (4, 6))
    ports = frozenset({ServicePort(Protocol.TCP, 9090, 80)})
    return ServiceBalance("shop", "front", virtual, backends, ports)


def test_a_departed_container_leaves_ports_and_services_and_others_stay(world: World) -> None:
    front = world.network()
    kept = publication(front, 4, 3, "shop-2", host_port=8082)
    publish(world.layout, [publication(front, 4, 2, "shop-1"), publication(front, 6, 2, "shop-1"), kept])
    ensure_service(world.layout, front, balance(("shop-1", 2), ("shop-2", 3)))
    gone = depart(world.layout, "shop-1")
    assert gone == {str(address(front, 4, 2)), str(address(front, 6, 2))}
    observed = read_firewall(world.layout)
    assert observed.publications == {kept}
    assert observed.services == {"shop": balance(("shop-2", 3))}
    assert depart(world.layout, "shop-1") == set()


def test_the_last_replicas_departure_leaves_a_service_that_refuses(world: World) -> None:
    front = world.network()
    client = world.container("client", front, 9, ports=())
    world.container("shop-1", front, 2)
    ensure_service(world.layout, front, balance(("shop-1", 2)))
    assert client.ask("10.1.0.100", 80).startswith("shop-1 ")
    depart(world.layout, "shop-1")
    assert read_firewall(world.layout).services == {"shop": balance()}
    assert client.ask("10.1.0.100", 80) == "refused"


def test_the_farewell_of_an_old_incarnation_takes_nothing_from_the_new(world: World) -> None:
    front = world.network()
    new = publication(front, 4, 2, incarnation="2")
    publish(world.layout, [publication(front, 4, 2, incarnation="1")])
    publish(world.layout, [new])
    ensure_service(world.layout, front, balance(("web", 2), incarnation="2"))
    assert depart(world.layout, "web", "1") == set()
    observed = read_firewall(world.layout)
    assert observed.publications == {new}
    assert observed.services == {"shop": balance(("web", 2), incarnation="2")}
    depart(world.layout, "web", "2")
    assert read_firewall(world.layout).publications == frozenset()
    assert read_firewall(world.layout).services == {"shop": balance()}


@both_families(6, pytest.mark.vm)
def test_a_client_that_keeps_its_udp_port_is_sent_to_the_living(world: World, version: int) -> None:
    front = world.network()
    client = world.container("client", front, 9, ports=())
    for number in (2, 3):
        world.container(f"shop-{number}", front, number)
    ensure_service(world.layout, front, balance(("shop-2", 2), ("shop-3", 3)))
    source = (str(address(front, version, 9)), 5555)
    virtual = address(front, version, 100)
    first = client.ask(virtual, 80, Protocol.UDP, source=source).split()[0]
    assert client.ask(virtual, 80, Protocol.UDP, source=source).split()[0] == first
    depart(world.layout, first)
    second = client.ask(virtual, 80, Protocol.UDP, source=source).split()[0]
    assert {first, second} == {"shop-2", "shop-3"}


def test_only_connections_answered_by_the_address_are_forgotten(world: World) -> None:
    front, outside = world.network(), world.outside()
    web, other = world.container("web", front, 2), world.container("other", front, 3)
    outside.listen(80)
    for machine in (web, other):
        assert machine.ask("192.0.2.9", 80).startswith("outside1 ")
        assert world.host.ask(f"10.1.0.{2 if machine is web else 3}", 80).startswith(machine.name)
    assert forget_connections(["10.1.0.2"]) == 1
    assert forget_connections(["10.1.0.2"]) == 0
    assert forget_connections(["10.1.0.3"]) == 1


def test_without_a_table_there_is_nothing_to_do(world: World) -> None:
    assert depart(world.layout, "web") == set()
    assert main([f"--table={world.layout.nft_table}", f"--run={world.layout.run}", "--container=web"]) == 0
    assert main(["--container=web"]) == 2
    assert nftables.run("list ruleset") == ""


def test_the_hook_is_a_program_that_needs_no_engine_and_is_quick(world: World) -> None:
    front, outside = world.network(), world.outside()
    world.container("web", front, 2)
    publish(world.layout, [publication(front, 4, 2, incarnation="7")])
    assert outside.ask("192.0.2.1", 8080).startswith("web ")
    described = hook(world.layout, "web", "7")
    arguments = described["args"]
    assert isinstance(arguments, list)
    begun = time.perf_counter()
    done = subprocess.run(
        arguments,
        executable=str(described["path"]),
        input='{"ociVersion":"1.3.0","status":"stopped"}',
        text=True,
        capture_output=True,
        check=True,
        cwd="/",
        env={},
    )
    assert time.perf_counter() - begun < 2  # seconds; 0.1 on a quiet machine
    assert (done.stdout, done.stderr) == ("", "")
    assert outside.ask("192.0.2.1", 8080, patience=IMPATIENCE) == "refused"


def test_the_hook_loads_no_heavy_library() -> None:
    heavy = ["pyroute2", "asyncio", "pydantic", "dataclasses", "typing", "pathlib", "argparse", "ipaddress"]
    code = (
        f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); import runtime.network.depart; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_departures_and_arrivals_at_once_lose_nothing(world: World) -> None:
    front = world.network()
    ensure_service(world.layout, front, balance(*((f"shop-{number}", number) for number in range(2, 10))))
    failures: list[BaseException] = []

    def leave(number: int) -> None:
        try:
            depart(world.layout, f"shop-{number}")
            publish(world.layout, [publication(front, 4, number, f"new-{number}", host_port=8000 + number)])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=leave, args=(number,)) for number in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    observed = read_firewall(world.layout)
    assert observed.services == {"shop": balance(("shop-8", 8), ("shop-9", 9))}
    assert {one.container for one in observed.publications} == {f"new-{number}" for number in range(2, 8)}
