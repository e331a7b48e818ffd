"""Services: a virtual address balanced in the kernel, the client's address kept, no process in the data path."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address

import pytest

from runtime.kernel import nftables
from runtime.network.bridge import read_bridge
from runtime.network.firewall.observe import read_firewall
from runtime.network.observe import read_virtual_addresses
from runtime.network.records import Address, Backend, NetworkWanted, Protocol, ServiceBalance, ServicePort
from runtime.network.service import ensure_service, remove_service
from tests.network.ways import both_families, every_way
from tests.network.world import IMPATIENCE, Machine, World, address, server_socket

pytestmark = pytest.mark.kernel

VIRTUAL = 100
"""The Service's address in each of the network's pools."""
UPLINK = {4: "192.0.2.1", 6: "fd00:2::1"}
OUTSIDE = {4: "192.0.2.9", 6: "fd00:2::9"}
both = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
transports = pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])


def balance(network: NetworkWanted, replicas: Iterable[int], **options: object) -> ServiceBalance:
    """`shop` over replicas shop-<number>, which have the addresses of that number."""
    values: dict[str, object] = {
        "virtual_addresses": frozenset(pool.subnet[VIRTUAL] for pool in network.pools),
        "backends": frozenset(
            Backend(f"shop-{number}", pool.subnet[number]) for number in replicas for pool in network.pools
        ),
        **options,
    }
    return ServiceBalance("shop", network.name, **values)  # type: ignore[arg-type]


def shop(world: World, network: NetworkWanted, replicas: Iterable[int] = (2, 3)) -> list[Machine]:
    machines = [world.container(f"shop-{number}", network, number) for number in replicas]
    ensure_service(world.layout, network, balance(network, replicas))
    return machines


def answers(asker: Machine, where: Address | str, count: int, protocol: Protocol = Protocol.TCP) -> Counter[str]:
    return Counter(asker.ask(where, 80, protocol) for _ in range(count))


@every_way(6, Protocol.UDP, pytest.mark.vm)
def test_connections_go_round_the_replicas_and_each_sees_the_client(
    any_world: World, version: int, protocol: Protocol
) -> None:
    front = any_world.network()
    client = any_world.container("client", front, 9)
    shop(any_world, front)
    who = address(front, version, 9)
    assert answers(client, address(front, version, VIRTUAL), 6, protocol) == {f"shop-2 {who}": 3, f"shop-3 {who}": 3}


@both
@transports
def test_a_replica_reaches_its_own_service_itself_included(any_world: World, version: int, protocol: Protocol) -> None:
    front = any_world.network()
    replica, _ = shop(any_world, front)
    names = Counter(line.split()[0] for line in answers(replica, address(front, version, VIRTUAL), 4, protocol))
    assert set(names) == {"shop-2", "shop-3"}


@both
@transports
def test_the_host_reaches_a_service(any_world: World, version: int, protocol: Protocol) -> None:
    front = any_world.network()
    shop(any_world, front)
    names = {line.split()[0] for line in answers(any_world.host, address(front, version, VIRTUAL), 4, protocol)}
    assert names == {"shop-2", "shop-3"}


@both
def test_every_port_of_the_virtual_address_leads_to_the_replicas(world: World, version: int) -> None:
    front = world.network()
    client = world.container("client", front, 9)
    (replica,) = shop(world, front, [2])
    replica.listen(8443, version=version, address=str(address(front, version, 2)))
    assert client.ask(address(front, version, VIRTUAL), 8443).startswith("shop-2 ")
    assert client.ask(address(front, version, VIRTUAL), 8444) == "refused"


@both
def test_replicas_and_clients_of_a_service_reach_each_other_straight(any_world: World, version: int) -> None:
    front = any_world.network()
    client = any_world.container("client", front, 9)
    replica, other = shop(any_world, front)
    assert client.ask(address(front, version, 2), 80) == f"shop-2 {address(front, version, 9)}"
    assert replica.ask(address(front, version, 9), 80) == f"client {address(front, version, 2)}"
    assert other.ask(address(front, version, 2), 80) == f"shop-2 {address(front, version, 3)}"


@both
def test_another_network_does_not_reach_a_service(world: World, version: int) -> None:
    front, back = world.network(), world.network("back", 2)
    stranger = world.container("stranger", back, 2)
    shop(world, front)
    world.host.listen(80, version=version)
    assert stranger.ask(address(front, version, VIRTUAL), 80) == "refused"


@both_families(4, pytest.mark.vm)
def test_a_service_without_a_replica_refuses_and_never_offers_the_hosts_own_port(world: World, version: int) -> None:
    front = world.network()
    client = world.container("client", front, 9)
    world.host.listen(80, version=version)
    ensure_service(world.layout, front, balance(front, []))
    assert client.ask(address(front, version, VIRTUAL), 80) == "refused"
    assert client.ask(address(front, version, VIRTUAL), 80, Protocol.UDP) == "refused"
    assert world.host.ask(address(front, version, VIRTUAL), 80) == "refused"
    assert client.ask(address(front, version, 1), 80).startswith("host ")


@both
def test_a_replica_that_leaves_gets_no_new_connection_and_keeps_its_old_one(any_world: World, version: int) -> None:
    front = any_world.network()
    client = any_world.container("client", front, 9, ports=())
    leaving, _ = shop(any_world, front)
    with leaving.within():
        server = server_socket(7000, Protocol.TCP, version, str(address(front, version, 2)))
    ensure_service(any_world.layout, front, balance(front, [2]))
    with server:
        with client.within():
            opened = socket.create_connection((str(address(front, version, VIRTUAL)), 7000), timeout=5)
        connection, _ = server.accept()
        with opened, connection:
            ensure_service(any_world.layout, front, balance(front, [3]))
            opened.sendall(b"still there?")
            assert connection.recv(64) == b"still there?"
            connection.sendall(b"yes")
            assert opened.recv(64) == b"yes"
    names = {line.split()[0] for line in answers(client, address(front, version, VIRTUAL), 4)}
    assert names == {"shop-3"}


@both
@transports
def test_a_published_port_is_balanced_over_the_replicas(any_world: World, version: int, protocol: Protocol) -> None:
    front, outside = any_world.network(), any_world.outside()
    shop(any_world, front)
    ports = frozenset({ServicePort(protocol, 8080, 80)})
    ensure_service(any_world.layout, front, balance(front, [2, 3], ports=ports))
    found = Counter(outside.ask(UPLINK[version], 8080, protocol) for _ in range(4))
    assert found == {f"shop-2 {OUTSIDE[version]}": 2, f"shop-3 {OUTSIDE[version]}": 2}
    neighbour = any_world.container("neighbour", front, 9)
    assert {neighbour.ask(UPLINK[version], 8080, protocol).split()[0] for _ in range(4)} == {"shop-2", "shop-3"}
    assert any_world.host.ask(UPLINK[version], 8080, protocol).startswith("shop-")


@both
def test_a_service_without_virtual_address_still_has_its_published_port(any_world: World, version: int) -> None:
    front, outside = any_world.network(), any_world.outside()
    replica, _ = shop(any_world, front)
    wanted = balance(
        front, [2, 3], virtual_addresses=frozenset(), ports=frozenset({ServicePort(Protocol.TCP, 8080, 80)})
    )
    ensure_service(any_world.layout, front, wanted)
    assert read_firewall(any_world.layout).services == {"shop": wanted}
    assert outside.ask(UPLINK[version], 8080).startswith("shop-")
    assert {replica.ask(UPLINK[version], 8080).split()[0] for _ in range(4)} == {"shop-2", "shop-3"}


@both
def test_an_internal_network_has_services_too(any_world: World, version: int) -> None:
    inner = any_world.network(internal=True)
    client = any_world.container("client", inner, 9)
    shop(any_world, inner)
    assert client.ask(address(inner, version, VIRTUAL), 80).endswith(f" {address(inner, version, 9)}")


@both
def test_a_service_works_where_containers_may_not_talk(any_world: World, version: int) -> None:
    front = any_world.network(icc=False)
    client = any_world.container("client", front, 9)
    shop(any_world, front)
    assert client.ask(address(front, version, VIRTUAL), 80).endswith(f" {address(front, version, 9)}")
    assert client.ask(address(front, version, 2), 80, patience=IMPATIENCE) == "silence"


def test_what_is_balanced_reads_back_as_it_was_asked_for(world: World) -> None:
    front = world.network()
    wanted = balance(
        front,
        [2, 3, 4],
        ports=frozenset({ServicePort(Protocol.TCP, 8080, 80), ServicePort(Protocol.UDP, 5353, 53)}),
        backends=frozenset(Backend(f"shop-{n}", address(front, v, n), "a1") for n in (2, 3, 4) for v in (4, 6)),
    )
    ensure_service(world.layout, front, wanted)
    assert read_firewall(world.layout).services == {"shop": wanted}
    observed = read_bridge(world.layout, "front")
    assert observed is not None
    assert observed.virtual_addresses == wanted.virtual_addresses
    smaller = balance(front, [3])
    ensure_service(world.layout, front, smaller)
    assert read_firewall(world.layout).services == {"shop": smaller}


def test_virtual_addresses_are_told_as_they_stand_and_given_back(world: World) -> None:
    front = world.network()
    wanted = balance(front, [2])
    ensure_service(world.layout, front, wanted)
    names = ["front", "nowhere"]
    assert read_virtual_addresses(world.layout, names) == {"front": wanted.virtual_addresses, "nowhere": frozenset()}
    for gone in wanted.virtual_addresses:
        length = gone.max_prefixlen
        link = world.layout.link("b", "front")
        subprocess.run(["ip", "address", "delete", f"{gone}/{length}", "dev", link], check=True)
        assert read_virtual_addresses(world.layout, names)["front"] == wanted.virtual_addresses - {gone}
        ensure_service(world.layout, front, wanted)
        assert read_virtual_addresses(world.layout, names)["front"] == wanted.virtual_addresses


def test_a_removed_service_leaves_nothing(world: World) -> None:
    front = world.network()
    other = world.network("other", 2)
    before = nftables.run("list ruleset")
    ensure_service(world.layout, front, balance(front, [2], ports=frozenset({ServicePort(Protocol.TCP, 8080, 80)})))
    assert nftables.run("list ruleset") != before
    remove_service(world.layout, "shop")
    remove_service(world.layout, "shop")
    assert nftables.run("list ruleset") == before
    observed = read_bridge(world.layout, "front")
    assert observed is not None
    assert observed.virtual_addresses == frozenset()
    assert other.name == "other"


@pytest.mark.parametrize(
    "damage",
    [
        "flush chain inet {table} service/shop",
        "flush map inet {table} replicas/shop/front/4",
        "delete element inet {table} virtual4 {{ 10.1.0.100 }}",
        "delete element inet {table} near6 {{ {link} . fd01:1::100 }}",
        "delete element inet {table} balanced {{ tcp . 8080 }}",
        "add rule inet {table} service/shop drop",
        "delete element inet {table} replicas/shop/front/6 {{ 1 }}",
        "delete table inet {table}",
        "flush ruleset",
    ],
)
def test_any_damage_to_a_service_shows_and_is_mended(world: World, damage: str) -> None:
    front = world.network()
    wanted = balance(front, [2, 3], ports=frozenset({ServicePort(Protocol.TCP, 8080, 80)}))
    ensure_service(world.layout, front, wanted)
    link = world.layout.link("b", "front")
    pool = front.pools[1].subnet
    text = damage.format(table=world.layout.nft_table, link=link).replace("fd01:1::100", str(pool[VIRTUAL]))
    nftables.run(text)
    assert "shop" not in read_firewall(world.layout).services or read_firewall(world.layout).services["shop"] != wanted
    ensure_service(world.layout, front, wanted)
    assert read_firewall(world.layout).services == {"shop": wanted}


def test_a_replica_is_taken_out_within_milliseconds(world: World) -> None:
    front = world.network()
    ensure_service(world.layout, front, balance(front, range(2, 52)))
    begun = time.perf_counter()
    ensure_service(world.layout, front, balance(front, range(2, 51)))
    assert time.perf_counter() - begun < 0.5


@both
def test_a_service_may_publish_at_one_address_or_in_one_family(any_world: World, version: int) -> None:
    front, outside = any_world.network(), any_world.outside()
    shop(any_world, front)
    uplink = ip_address(UPLINK[version])
    everywhere = ip_address({4: "0.0.0.0", 6: "::"}[version])
    ports = frozenset({ServicePort(Protocol.TCP, 8080, 80, uplink), ServicePort(Protocol.TCP, 8081, 80, everywhere)})
    wanted = balance(front, [2, 3], ports=ports)
    ensure_service(any_world.layout, front, wanted)
    assert read_firewall(any_world.layout).services == {"shop": wanted}
    assert outside.ask(uplink, 8080).startswith("shop-")
    assert any_world.host.ask(address(front, version, 1), 8080) == "refused"
    assert outside.ask(uplink, 8081).startswith("shop-")
    assert any_world.host.ask(address(front, version, 1), 8081).startswith("shop-")
    assert outside.ask(UPLINK[10 - version], 8081) == "refused"
