"""After a hundred rounds everything is as it was before the first."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.kernel import nftables
from runtime.network.depart import depart
from runtime.network.endpoint import ensure_endpoint
from runtime.network.firewall.observe import read_firewall
from runtime.network.firewall.publications import publish, unpublish
from runtime.network.host import read_host_routes, read_listeners
from runtime.network.network import ensure_network, read_network, remove_network
from runtime.network.observe import read_endpoints, read_host_links
from runtime.network.records import Backend, ServiceBalance
from runtime.network.service import ensure_service, remove_service
from tests.network.world import PATIENCE, World, address, endpoint, network, publication

pytestmark = pytest.mark.kernel

ROUNDS = 100


def standing(world: World) -> tuple[object, ...]:
    """What must not grow: links, rules, routes, descriptors, files."""
    return (
        sorted(link.name for link in read_host_links().values()),
        nftables.run("list ruleset"),
        read_host_routes(),
        sum(1 for _ in Path("/proc/self/fd").iterdir()),
        sorted(path.name for path in world.layout.run.rglob("*")),
    )


def settled(observe: Callable[[], object], expected: object) -> object:
    """What is observed once it is as expected, or when patience ends: namespaces die behind the scenes."""
    ends = time.monotonic() + 6 * PATIENCE
    while (found := observe()) != expected and time.monotonic() < ends:
        time.sleep(0.01)
    return found


def test_a_hundred_containers_come_and_go_and_leave_nothing(world: World) -> None:
    front = world.network()

    def one_round(number: int) -> None:
        machine = world.machine(f"c{number}")
        wanted = endpoint(front, machine.name, 2)
        ensure_endpoint(world.layout, wanted, machine.tid)
        publish(world.layout, [publication(front, version, 2, machine.name) for version in (4, 6)])
        backends = frozenset(Backend(machine.name, address(front, version, 2)) for version in (4, 6))
        ensure_service(world.layout, front, ServiceBalance("shop", "front", frozenset(), backends))
        assert read_endpoints(machine.tid) and read_firewall(world.layout).services and not read_listeners()
        if number % 2:
            depart(world.layout.nft_table, str(world.layout.run), machine.name)
        else:
            unpublish(world.layout, machine.name)
        machine.stop()
        world.machines.remove(machine)

    one_round(0)
    remove_service(world.layout, "shop")
    expected = standing_without_dying(world)
    for number in range(1, ROUNDS):
        one_round(number)
    remove_service(world.layout, "shop")
    assert settled(lambda: standing(world), expected) == expected


def standing_without_dying(world: World) -> tuple[object, ...]:
    """The same once no container's link is left of the first round."""
    settled(lambda: any(link.name.startswith("ttv") for link in read_host_links().values()), False)
    return standing(world)


def test_networks_and_services_come_and_go_and_leave_nothing(world: World) -> None:
    def one_round() -> None:
        back = network("back", 2, icc=False)
        ensure_network(world.layout, back)
        virtual = frozenset(address(back, version, 100) for version in (4, 6))
        ensure_service(world.layout, back, ServiceBalance("shop", "back", virtual))
        assert read_network(world.layout, "back") is not None
        remove_service(world.layout, "shop")
        remove_network(world.layout, "back")

    world.network()
    one_round()
    expected = standing(world)
    for _ in range(20):
        one_round()
    assert standing(world) == expected
