"""What the host already uses: routes and listening ports."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address

import pytest

from runtime.network.host import read_host_routes, read_listeners, read_process_of
from runtime.network.records import Address, Listener, Protocol
from tests.network.world import World, batch, server_socket

pytestmark = pytest.mark.kernel


def test_routes_of_every_table_are_seen_with_their_links(world: World) -> None:
    world.outside()
    batch(
        "route add 10.20.0.0/16 via 192.0.2.9",
        "route add 10.30.0.0/16 via 192.0.2.9 table 77",
        "route add blackhole 10.40.0.0/16",
        "route add fd99::/48 via fd00:2::9 metric 5",
        "route add default via 192.0.2.9",
        "route add 10.50.0.0/16 nexthop via 192.0.2.9 weight 1 nexthop via 192.0.2.10 weight 1",
    )
    found = {(str(route.subnet), str(route.gateway), route.interface) for route in read_host_routes()}
    assert found == {
        ("192.0.2.0/24", "None", "up1"),
        ("fd00:2::/64", "None", "up1"),
        ("10.20.0.0/16", "192.0.2.9", "up1"),
        ("10.30.0.0/16", "192.0.2.9", "up1"),
        ("fd99::/48", "fd00:2::9", "up1"),
        ("0.0.0.0/0", "192.0.2.9", "up1"),
        ("10.50.0.0/16", "192.0.2.9", "up1"),
        ("10.50.0.0/16", "192.0.2.10", "up1"),
    }


def described(found: frozenset[Listener]) -> set[tuple[str, str, int, int]]:
    return {(one.protocol.value, str(one.address), one.port, one.version) for one in found}


def test_listeners_are_seen_with_address_protocol_and_version(world: World) -> None:
    assert read_listeners() == frozenset()
    with (
        server_socket(80, Protocol.TCP, 4),
        server_socket(81, Protocol.TCP, 4, "127.0.0.1"),
        server_socket(82, Protocol.TCP, 6),
        server_socket(83, Protocol.UDP, 6, "::1"),
        server_socket(84, Protocol.UDP, 4),
        socket.create_server(("", 85), family=socket.AF_INET6, dualstack_ipv6=True),
    ):
        found = read_listeners()
    assert described(found) == {
        ("tcp", "None", 80, 4),
        ("tcp", "127.0.0.1", 81, 4),
        ("tcp", "None", 82, 6),
        ("udp", "::1", 83, 6),
        ("udp", "None", 84, 4),
        ("tcp", "None", 85, 0),
    }


def test_clients_are_no_listeners(world: World) -> None:
    with (
        server_socket(80, Protocol.TCP, 4) as server,
        socket.create_connection(("127.0.0.1", 80)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        accepted, _ = server.accept()
        client.connect(("127.0.0.1", 99))
        with accepted:
            assert described(read_listeners()) == {("tcp", "None", 80, 4)}


def test_the_process_that_listens_is_named(world: World) -> None:
    with server_socket(80, Protocol.TCP, 4):
        (found,) = read_listeners()
        assert read_process_of(found).endswith(f"(pid {os.getpid()})")
    assert read_process_of(found) == ""


LOCAL, OTHER, LOCAL6 = ip_address("127.0.0.1"), ip_address("192.0.2.1"), ip_address("::1")
CASES: list[tuple[str, Listener, Address | None, int, bool]] = [
    ("everywhere against everywhere", Listener(Protocol.TCP, None, 80, 4), None, 4, True),
    ("everywhere of both against either", Listener(Protocol.TCP, None, 80, 0), None, 6, True),
    ("IPv6 alone leaves IPv4 free", Listener(Protocol.TCP, None, 80, 6), None, 4, False),
    ("one address against everywhere", Listener(Protocol.TCP, LOCAL, 80, 4), None, 4, True),
    ("one address against itself", Listener(Protocol.TCP, LOCAL, 80, 4), LOCAL, 4, True),
    ("one address leaves another free", Listener(Protocol.TCP, LOCAL, 80, 4), OTHER, 4, False),
    ("everywhere against one address", Listener(Protocol.TCP, None, 80, 0), LOCAL6, 6, True),
    ("another port", Listener(Protocol.TCP, None, 81, 4), None, 4, False),
    ("another protocol", Listener(Protocol.UDP, None, 80, 4), None, 4, False),
]


@pytest.mark.parametrize(
    ("listener", "address", "version", "blocked"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_which_listeners_block_a_port(listener: Listener, address: Address | None, version: int, blocked: bool) -> None:
    assert listener.blocks(Protocol.TCP, 80, address, version) is blocked
