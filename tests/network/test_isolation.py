"""Who may talk to whom: between networks, inside one, to the outside, to the host; and what spoofing gets."""

from __future__ import annotations

import socket

import pytest

from runtime.network.firewall.publications import publish
from runtime.network.naming import bridge_mac, endpoint_mac
from runtime.network.network import ensure_network
from runtime.network.records import NetworkWanted, Protocol
from tests.network.frames import send_udp_frame
from tests.network.ways import every_way
from tests.network.world import IMPATIENCE, Machine, World, address, endpoint, network, publication, server_socket

pytestmark = pytest.mark.kernel

UPLINK = {4: "192.0.2.1", 6: "fd00:2::1"}
OUTSIDE = {4: "192.0.2.9", 6: "fd00:2::9"}
both = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
transports = pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])


@both
def test_a_container_reaches_the_outside_in_the_hosts_name(any_world: World, version: int) -> None:
    front, outside = any_world.network(), any_world.outside()
    outside.listen(80, version=version)
    web = any_world.container("web", front, 2)
    assert web.ask(OUTSIDE[version], 80) == f"outside1 {UPLINK[version]}"


@both
def test_without_masquerade_it_goes_out_in_its_own_name(world: World, version: int) -> None:
    front, outside = world.network(masquerade=False), world.outside()
    outside.listen(80, version=version)
    web = world.container("web", front, 2)
    assert web.ask(OUTSIDE[version], 80) == f"outside1 {address(front, version, 2)}"


@every_way(6, Protocol.TCP, pytest.mark.vm)
def test_networks_are_kept_apart(any_world: World, version: int, protocol: Protocol) -> None:
    front, back = any_world.network(), any_world.network("back", 2)
    web, db = any_world.container("web", front, 2), any_world.container("db", back, 2)
    assert web.ask(address(back, version, 2), 80, protocol, patience=IMPATIENCE) == "silence"
    assert db.ask(address(front, version, 2), 80, protocol, patience=IMPATIENCE) == "silence"


@both
@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True)])
def test_one_isolated_network_is_enough_to_keep_both_apart(
    world: World, version: int, first: bool, second: bool
) -> None:
    front, back = world.network(isolated=first), world.network("back", 2, isolated=second)
    web, _ = world.container("web", front, 2), world.container("db", back, 2)
    assert web.ask(address(back, version, 2), 80, patience=IMPATIENCE) == "silence"


@both
def test_networks_that_are_not_isolated_see_each_others_own_addresses(world: World, version: int) -> None:
    front, back = world.network(isolated=False), world.network("back", 2, isolated=False)
    web, db = world.container("web", front, 2), world.container("db", back, 2)
    assert web.ask(address(back, version, 2), 80) == f"db {address(front, version, 2)}"
    assert db.ask(address(front, version, 2), 80) == f"web {address(back, version, 2)}"


@both
@transports
def test_containers_of_one_network_talk(any_world: World, version: int, protocol: Protocol) -> None:
    front = any_world.network()
    web, _ = any_world.container("web", front, 2), any_world.container("db", front, 3)
    assert web.ask(address(front, version, 3), 80, protocol) == f"db {address(front, version, 2)}"


@every_way(4, Protocol.UDP, pytest.mark.vm)
def test_without_icc_they_do_not_but_by_published_ports(any_world: World, version: int, protocol: Protocol) -> None:
    front = any_world.network(icc=False)
    web, _ = any_world.container("web", front, 2), any_world.container("db", front, 3)
    assert web.ask(address(front, version, 3), 80, protocol, patience=IMPATIENCE) == "silence"
    assert any_world.host.ask(address(front, version, 3), 80, protocol).startswith("db ")
    publish(any_world.layout, [publication(front, version, 3, "db", protocol=protocol)])
    assert web.ask(address(front, version, 1), 8080, protocol).startswith("db ")


def test_icc_changes_under_running_containers(any_world: World) -> None:
    front = any_world.network()
    web, _ = any_world.container("web", front, 2), any_world.container("db", front, 3)
    assert web.ask("10.1.0.3", 80).startswith("db ")
    ensure_network(any_world.layout, network(icc=False))
    assert web.ask("10.1.0.3", 80, patience=IMPATIENCE) == "silence"
    ensure_network(any_world.layout, front)
    assert web.ask("10.1.0.3", 80).startswith("db ")


@pytest.mark.parametrize("icc", [True, False])
@pytest.mark.parametrize("source", ["10.1.0.2", "10.77.0.1"])
def test_without_icc_a_frame_to_a_neighbours_hardware_address_is_lost(world: World, icc: bool, source: str) -> None:
    front = world.network(icc=icc)
    web, db = world.container("web", front, 2), world.container("db", front, 3, ports=())
    with db.within():
        server = server_socket(9000, Protocol.UDP, 4)
    mac = endpoint_mac(endpoint(front, "db", 3))
    send_udp_frame(web, "eth0", mac, source, "10.1.0.3", 9000, b"knock")
    assert heard(server) is icc


@pytest.mark.parametrize("icc", [True, False])
def test_without_icc_neighbours_are_not_reached_by_link_local_addresses_or_multicast(world: World, icc: bool) -> None:
    front = world.network(icc=icc)
    web, db = world.container("web", front, 2, ports=()), world.container("db", front, 3, ports=())
    with db.within():
        index = socket.if_nametoindex("eth0")
        server = server_socket(9000, Protocol.UDP, 6)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, _group("ff02::abcd", index))
        local = next(
            line.split()[3].split("/")[0]
            for line in db.run("ip", "-o", "-6", "address", "show", "scope", "link").splitlines()
        )
    with web.within(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"knock", (local, 9000, 0, socket.if_nametoindex("eth0")))
        assert heard(server, close=False) is icc
        sender.sendto(b"knock", ("ff02::abcd", 9000, 0, socket.if_nametoindex("eth0")))
        assert heard(server) is icc


@both
def test_an_internal_network_has_no_way_out_and_none_in(any_world: World, version: int) -> None:
    inner, outside = any_world.network(internal=True), any_world.outside()
    front = any_world.network("front2", 2, isolated=False)
    outside.listen(80, version=version)
    web, db = any_world.container("web", inner, 2), any_world.container("db", inner, 3)
    stranger = any_world.container("stranger", front, 2)
    # whatever routes it makes for itself
    web.run("ip", f"-{version}", "route", "replace", "default", "via", str(address(inner, version, 1)))
    assert web.ask(OUTSIDE[version], 80, patience=IMPATIENCE) == "silence"
    assert web.ask(address(front, version, 2), 80, patience=IMPATIENCE) == "silence"
    assert stranger.ask(address(inner, version, 2), 80, patience=IMPATIENCE) == "silence"
    publish(any_world.layout, [publication(inner, version, 2)])
    assert outside.ask(UPLINK[version], 8080, patience=IMPATIENCE) == "silence"
    publish(any_world.layout, [publication(front, version, 2, "stranger", host_port=8081)])
    assert web.ask(address(inner, version, 1), 8081, patience=IMPATIENCE) == "silence"
    assert db.ask(address(inner, version, 2), 80).startswith("web ")


@both
def test_an_internal_network_reaches_the_hosts_name_server_and_nothing_else_of_it(world: World, version: int) -> None:
    inner = world.network(internal=True)
    web = world.container("web", inner, 2)
    gateway = str(address(inner, version, 1))
    for port in (53, 80):
        world.host.listen(port, Protocol.UDP, version, gateway)
    world.host.listen(80, Protocol.TCP, version, gateway)
    assert web.ask(gateway, 53, Protocol.UDP).startswith("host ")
    assert web.ask(gateway, 80, Protocol.UDP, patience=IMPATIENCE) == "silence"
    assert web.ask(gateway, 80, patience=IMPATIENCE) == "silence"
    assert world.host.ask(str(address(inner, version, 2)), 80).startswith("web ")


@both
@transports
def test_a_networks_gateway_is_for_its_own_containers(any_world: World, version: int, protocol: Protocol) -> None:
    """The name server there tells of that network."""
    front, back = any_world.network(), any_world.network("back", 2)
    mine, stranger = any_world.container("mine", front, 2), any_world.container("stranger", back, 2)
    gateway = str(address(front, version, 1))
    any_world.host.listen(53, protocol, version, gateway)
    assert mine.ask(gateway, 53, protocol) == f"host {address(front, version, 2)}"
    assert stranger.ask(gateway, 53, protocol) == "refused"


LIES = [
    ("10.1.0.2", "10.1.0.1", True, "the truth"),
    ("127.0.0.1", "10.1.0.1", False, "from the loopback"),
    ("10.1.0.2", "127.0.0.1", False, "to the loopback"),
    ("10.2.0.2", "10.1.0.1", False, "from another network"),
    ("192.0.2.9", "10.1.0.1", False, "from the outside"),
    ("fd01:1::2", "fd01:1::1", True, "the truth"),
    ("fd01:2::2", "fd01:1::1", False, "from another network"),
    ("fd00:2::9", "fd01:1::1", False, "from the outside"),
    ("::1", "fd01:1::1", False, "from the loopback"),
    ("fd01:1::2", "::1", False, "to the loopback"),
]


@pytest.mark.parametrize(
    ("source", "destination", "arrives"), [lie[:3] for lie in LIES], ids=[f"{lie[3]}-{lie[0]}-{lie[1]}" for lie in LIES]
)
def test_a_container_cannot_lie_about_addresses_to_the_host(
    any_world: World, source: str, destination: str, arrives: bool
) -> None:
    front = any_world.network()
    any_world.network("back", 2)
    any_world.outside()
    liar = any_world.container("liar", front, 2, ports=())
    server = server_socket(9000, Protocol.UDP, 4 if "." in destination else 6)
    mac = bridge_mac(any_world.layout.link("b", "front"))
    send_udp_frame(liar, "eth0", mac, source, destination, 9000, b"knock")
    assert heard(server) is arrives


def heard(server: socket.socket, close: bool = True) -> bool:
    server.settimeout(IMPATIENCE)
    try:
        return server.recv(64) == b"knock"
    except TimeoutError:
        return False
    finally:
        if close:
            server.close()


def _group(group: str, index: int) -> bytes:
    return socket.inet_pton(socket.AF_INET6, group) + index.to_bytes(4, "little")


def test_an_engines_containers_are_no_neighbours_of_anothers(world: World) -> None:
    """A second engine on the same host: its tables judge its own links alone, and neither lets the other's in."""
    second = World(type(world.layout)(root=world.layout.root / "second", run=world.layout.run / "second"))
    try:
        front = world.network(isolated=False)
        theirs = second.network("front", 2, isolated=False)
        web, other = world.container("web", front, 2), second.container("other", theirs, 2)
        assert web.ask("10.2.0.2", 80, patience=IMPATIENCE) == "silence"
        assert other.ask("10.1.0.2", 80, patience=IMPATIENCE) == "silence"
        assert talks(web, front) and talks(other, theirs)
    finally:
        second.close()


def talks(machine: Machine, wanted: NetworkWanted) -> bool:
    return machine.ask(address(wanted, 4, 2), 80).startswith(machine.name)
