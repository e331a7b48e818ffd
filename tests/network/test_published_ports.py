"""Published ports with real packets: who reaches what, by which way, and what the container sees."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

import pytest

from runtime.network.firewall.publications import publish, unpublish
from runtime.network.records import Protocol
from tests.network.frames import sctp_init
from tests.network.ways import every_way
from tests.network.world import (
    FAMILIES,
    IMPATIENCE,
    PATIENCE,
    SCTP,
    World,
    address,
    bridge_calls_iptables,
    publication,
)

pytestmark = pytest.mark.kernel

UPLINK = {4: "192.0.2.1", 6: "fd00:2::1"}
OUTSIDE = {4: "192.0.2.9", 6: "fd00:2::9"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
both = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


@every_way(4, Protocol.TCP, pytest.mark.vm)
def test_outside_reaches_a_published_port_and_the_container_sees_who_asks(
    any_world: World, version: int, protocol: Protocol
) -> None:
    front, outside = any_world.network(), any_world.outside()
    any_world.container("web", front, 2)
    publish(any_world.layout, [publication(front, version, 2, protocol=protocol)])
    assert outside.ask(UPLINK[version], 8080, protocol) == f"web {OUTSIDE[version]}"


@both
def test_sctp_is_published_too(world: World, version: int) -> None:
    """By its first packet: the kernel may well carry SCTP without speaking it."""
    front, outside = world.network(), world.outside()
    web = world.container("web", front, 2, ports=())
    publish(world.layout, [publication(front, version, 2, protocol=Protocol.SCTP)])
    with web.within():
        receiver = socket.socket(FAMILIES[version], socket.SOCK_RAW, SCTP)
    with outside.within(), socket.socket(FAMILIES[version], socket.SOCK_RAW, SCTP) as sender:
        sender.sendto(sctp_init(5555, 8080), (UPLINK[version], 0))
    with receiver:
        receiver.settimeout(PATIENCE)
        packet = receiver.recv(2048)
    head = packet[20:] if version == 4 else packet
    assert struct.unpack_from("!HH", head) == (5555, 80)


@both
@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_the_host_reaches_a_published_port_at_each_of_its_addresses(
    any_world: World, version: int, protocol: Protocol
) -> None:
    front = any_world.network()
    any_world.outside()
    any_world.container("web", front, 2)
    publish(any_world.layout, [publication(front, version, 2, protocol=protocol)])
    places = [UPLINK[version], str(address(front, version, 1))] + (["127.0.0.1"] if version == 4 else [])
    for place in places:
        assert any_world.host.ask(place, 8080, protocol).startswith("web "), place


@pytest.mark.vm
def test_the_host_reaches_a_published_port_at_the_ipv6_loopback(world: World) -> None:
    front = world.network()
    world.container("web", front, 2)
    publish(world.layout, [publication(front, 6, 2), publication(front, 6, 2, protocol=Protocol.UDP)])
    assert world.host.ask("::1", 8080) == f"web {address(front, 6, 1)}"
    assert world.host.ask("::1", 8080, Protocol.UDP) == f"web {address(front, 6, 1)}"


def test_where_br_netfilter_would_lose_the_answer_the_ipv6_loopback_refuses_at_once(world: World) -> None:
    bridge_calls_iptables(True)
    front = world.network()
    world.container("web", front, 2)
    publish(world.layout, [publication(front, 6, 2)])
    assert world.host.ask("::1", 8080) == "refused"


@both
@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
def test_containers_reach_published_ports_of_others_and_of_themselves(
    any_world: World, version: int, protocol: Protocol
) -> None:
    front, back = any_world.network(), any_world.network("back", 2)
    any_world.outside()
    web, neighbour = any_world.container("web", front, 2), any_world.container("neighbour", front, 3)
    stranger = any_world.container("stranger", back, 2)
    publish(any_world.layout, [publication(front, version, 2, protocol=protocol)])
    for place in (UPLINK[version], str(address(front, version, 1))):
        for asker in (web, neighbour, stranger):
            assert asker.ask(place, 8080, protocol).startswith("web "), (asker.name, place)


@both
def test_a_port_published_at_one_address_is_not_at_another(world: World, version: int) -> None:
    front, outside = world.network(), world.outside()
    world.container("web", front, 2)
    publish(world.layout, [publication(front, version, 2, host_address=ip_address(UPLINK[version]))])
    assert outside.ask(UPLINK[version], 8080).startswith("web ")
    assert world.host.ask(UPLINK[version], 8080).startswith("web ")
    assert world.host.ask(str(address(front, version, 1)), 8080) == "refused"


def test_a_port_published_at_the_loopback_is_for_the_host_alone(world: World) -> None:
    front, outside = world.network(), world.outside()
    neighbour = world.container("neighbour", front, 3)
    world.container("web", front, 2)
    publish(world.layout, [publication(front, 4, 2, host_address=ip_address("127.0.0.1"))])
    assert world.host.ask("127.0.0.1", 8080) == "web 10.1.0.1"
    assert outside.ask("192.0.2.1", 8080) == "refused"
    assert neighbour.ask("10.1.0.1", 8080) == "refused"


@both
def test_one_address_may_go_elsewhere_than_all_others(world: World, version: int) -> None:
    front, outside = world.network(), world.outside()
    world.container("web", front, 2)
    world.container("special", front, 3)
    publish(
        world.layout,
        [
            publication(front, version, 2),
            publication(front, version, 3, "special", host_address=ip_address(UPLINK[version])),
        ],
    )
    assert outside.ask(UPLINK[version], 8080).startswith("special ")
    assert world.host.ask(str(address(front, version, 1)), 8080).startswith("web ")


@both
def test_an_unpublished_port_is_refused_and_the_others_stay(world: World, version: int) -> None:
    front, outside = world.network(), world.outside()
    world.container("web", front, 2)
    kept = publication(front, version, 2, host_port=8081)
    publish(world.layout, [publication(front, version, 2), kept])
    assert outside.ask(UPLINK[version], 8080).startswith("web ")
    unpublish(world.layout, "web", keep=[kept])
    assert outside.ask(UPLINK[version], 8080) == "refused"
    assert outside.ask(UPLINK[version], 8081).startswith("web ")


@both
def test_a_container_is_not_reached_from_outside_past_its_published_ports(any_world: World, version: int) -> None:
    front, outside = any_world.network(), any_world.outside()
    any_world.container("web", front, 2, ports=(80, 81))
    publish(any_world.layout, [publication(front, version, 2)])
    assert outside.ask(address(front, version, 2), 80, patience=IMPATIENCE) == "silence"
    assert outside.ask(address(front, version, 2), 81, patience=IMPATIENCE) == "silence"
    assert any_world.host.ask(address(front, version, 2), 81).startswith("web ")


@both
def test_a_published_name_server_does_not_take_the_place_of_ours_at_the_gateway(world: World, version: int) -> None:
    front, outside = world.network(), world.outside()
    world.container("named", front, 2, ports=(53,))
    asker = world.container("asker", front, 3)
    publish(
        world.layout,
        [publication(front, version, 2, "named", protocol=Protocol.UDP, host_port=53, container_port=53)],
    )
    world.host.listen(53, Protocol.UDP, version, str(address(front, version, 1)))
    assert outside.ask(UPLINK[version], 53, Protocol.UDP).startswith("named ")
    assert asker.ask(address(front, version, 1), 53, Protocol.UDP) == f"host {address(front, version, 3)}"


def test_a_port_moves_from_one_container_to_another_in_one_step(world: World) -> None:
    front, outside = world.network(), world.outside()
    world.container("old", front, 2)
    world.container("new", front, 3)
    publish(world.layout, [publication(front, 4, 2, "old")])
    publish(world.layout, [publication(front, 4, 3, "new")])
    assert outside.ask("192.0.2.1", 8080).startswith("new ")
    unpublish(world.layout, "old")
    assert outside.ask("192.0.2.1", 8080).startswith("new ")
