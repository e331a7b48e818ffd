"""Plugging containers: what stands inside and outside, what is corrected, and from where it may be done."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from runtime.kernel.namespaces import CLONE_NEWNET, unshare
from runtime.network import sysctl
from runtime.network.endpoint import ensure_endpoint, remove_endpoint
from runtime.network.naming import endpoint_mac
from runtime.network.network import ensure_network
from runtime.network.observe import read_endpoints, read_host_links
from runtime.network.records import Driver, EndpointWanted, Gateway, NetworkWanted, ObservedEndpoint, Protocol
from schemas.errors import Refused, RetryLater
from tests.network.differences import endpoint_differences
from tests.network.frames import send_udp_frame
from tests.network.world import Machine, World, batch, endpoint, network

pytestmark = pytest.mark.kernel


def current_namespace() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def only(machine: Machine) -> ObservedEndpoint:
    (found,) = read_endpoints(machine.tid)
    return found


def differences(world: World, wanted: EndpointWanted, machine: Machine) -> tuple[str, ...]:
    found = {one.interface: one for one in read_endpoints(machine.tid)}
    return endpoint_differences(world.layout, wanted, found.get(wanted.interface))


@pytest.mark.vm
def test_a_plugged_container_has_what_was_asked_for_and_nothing_else(world: World) -> None:
    wanted = endpoint(world.network(mtu=1400), "web", 2, interface="net0", mac="02:AA:00:00:00:01")
    web = world.machine("web")
    ensure_endpoint(world.layout, wanted, web.tid)
    found = only(web)
    assert (found.interface, found.kind, found.mac, found.mtu, found.up) == (
        "net0",
        "veth",
        "02:aa:00:00:00:01",
        1400,
        True,
    )
    assert found.addresses == set(wanted.addresses)
    assert {str(route.gateway) for route in found.routes if route.subnet.prefixlen == 0} == {"10.1.0.1", "fd01:1::1"}
    assert found.attached_to == world.layout.link("b", "front")
    assert differences(world, wanted, web) == ()
    assert "LOOPBACK,UP" in web.run("ip", "link", "show", "lo")
    assert web.run("ip", "-6", "address", "show", "tentative") == ""


def test_plugging_again_changes_nothing(world: World) -> None:
    wanted = endpoint(world.network(), "web", 2)
    web = world.machine("web")
    ensure_endpoint(world.layout, wanted, web.tid)
    before, links = read_endpoints(web.tid), read_host_links()
    ensure_endpoint(world.layout, wanted, web.tid)
    assert read_endpoints(web.tid) == before
    assert read_host_links() == links


@pytest.mark.vm
def test_the_first_packet_after_plugging_is_not_lost(world: World) -> None:
    front = world.network()
    world.host.listen(80, Protocol.UDP, 4, "10.1.0.1")
    for number in range(2, 12):
        machine = world.container(f"c{number}", front, number, ports=())
        assert machine.ask("10.1.0.1", 80, Protocol.UDP) == f"host 10.1.0.{number}"


DRIFTS = {
    "an address was removed": ("ip address del 10.1.0.2/24 dev eth0", "address 10.1.0.2/24 is missing"),
    "an IPv6 address was removed": ("ip address del fd01:1::2/64 dev eth0", "address fd01:1::2/64 is missing"),
    "an address was added": ("ip address add 10.9.9.9/24 dev eth0", "address 10.9.9.9/24 is not wanted"),
    "the default route was removed": ("ip route del default", "default route via 10.1.0.1 is missing"),
    "the IPv6 default route was removed": ("ip -6 route del default", "default route via fd01:1::1 is missing"),
    "another default route was added": (
        "ip route add default via 10.1.0.77 metric 7",
        "default route via 10.1.0.77 is not wanted",
    ),
    "the link is down": ("ip link set eth0 down", "eth0 is down"),
    "the mtu was changed": ("ip link set eth0 mtu 1280", "mtu is 1280, not 1500"),
    "the hardware address was changed": ("ip link set eth0 address 02:00:00:00:00:99", "mac is 02:00:00:00:00:99, not"),
    "the link was removed": ("ip link del eth0", "the link is missing"),
    "a link of another kind took its place": (
        "ip link del eth0; ip link add eth0 type bridge",
        "eth0 is a bridge, not a veth",
    ),
}


@pytest.mark.parametrize(("commands", "word"), DRIFTS.values(), ids=DRIFTS)
def test_drift_inside_the_container_shows_and_is_corrected(world: World, commands: str, word: str) -> None:
    wanted = endpoint(world.network(mtu=1500), "web", 2)
    web = world.container("web", wanted.network, 2)
    for command in commands.split("; "):
        web.run(*command.split())
    assert any(one.startswith(word) for one in differences(world, wanted, web)), differences(world, wanted, web)
    ensure_endpoint(world.layout, wanted, web.tid)
    assert differences(world, wanted, web) == ()
    assert web.ask("10.1.0.2", 80).startswith("web ")
    world.host.listen(81, version=6)
    assert web.ask("fd01:1::1", 81).startswith("host ")


@pytest.mark.parametrize("command", ["link set {port} down", "link set {port} nomaster", "link set {port} group 0"])
def test_drift_on_the_hosts_side_shows_and_is_corrected(world: World, command: str) -> None:
    wanted = endpoint(world.network(), "web", 2)
    web = world.container("web", wanted.network, 2)
    (port,) = [link.name for link in read_host_links().values() if link.name.startswith("ttv")]
    batch(command.format(port=port))
    assert differences(world, wanted, web)[0].startswith("eth0 is attached to nothing, not to ttb")
    ensure_endpoint(world.layout, wanted, web.tid)
    assert differences(world, wanted, web) == ()
    assert world.host.ask("10.1.0.2", 80).startswith("web ")


def test_after_its_bridge_was_deleted_a_container_is_plugged_again(world: World) -> None:
    front = world.network()
    web = world.container("web", front, 2)
    batch(f"link del {world.layout.link('b', 'front')}")
    assert differences(world, endpoint(front, "web", 2), web) != ()
    ensure_network(world.layout, front)
    ensure_endpoint(world.layout, endpoint(front, "web", 2), web.tid)
    assert differences(world, endpoint(front, "web", 2), web) == ()
    assert world.host.ask("10.1.0.2", 80).startswith("web ")
    assert world.host.ask("fd01:1::2", 80).startswith("web ")


def test_addresses_and_routes_change_under_a_running_container(world: World) -> None:
    front = world.network()
    web = world.container("web", front, 2)
    moved = replace(
        endpoint(front, "web", 7), mac="02:00:00:00:00:07", gateways=(Gateway(ip_address("10.1.0.1"), 50),), mtu=1300
    )
    ensure_endpoint(world.layout, moved, web.tid)
    assert differences(world, moved, web) == ()
    assert {route.metric for route in only(web).routes if route.subnet.prefixlen == 0} == {50}


def test_several_networks_one_default_route(world: World) -> None:
    front, back = world.network(), world.network("back", 2)
    web = world.container("web", front, 2)
    second = endpoint(back, "web", 2, interface="eth1", gateways=())
    ensure_endpoint(world.layout, second, web.tid)
    assert differences(world, second, web) == ()
    assert differences(world, endpoint(front, "web", 2), web) == ()
    assert world.host.ask("10.2.0.2", 80) == "refused"
    remove_endpoint("eth0", web.tid)
    remove_endpoint("eth0", web.tid)
    assert [one.interface for one in read_endpoints(web.tid)] == ["eth1"]


def test_without_an_ipv6_address_ipv6_is_off_inside_and_on_the_bridge(world: World) -> None:
    plain = network()
    plain = replace(plain, pools=plain.pools[:1])
    ensure_network(world.layout, plain)
    web = world.container("web", plain, 2)
    assert web.run("ip", "-6", "address", "show", "dev", "eth0") == ""
    bridge = world.layout.link("b", "front")
    assert Path(f"/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6").read_text().strip() == "1"


def test_a_container_obeys_no_router_advertisement_and_settings_of_the_manifest_win(world: World) -> None:
    wanted = endpoint(world.network(), "web", 2, sysctls=(("ipv4.arp_announce", "2"), ("ipv6.accept_dad", "1")))
    web = world.machine("web")
    ensure_endpoint(world.layout, wanted, web.tid)
    assert web.run("cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").strip() == "0"
    assert web.run("cat", "/proc/sys/net/ipv6/conf/eth0/accept_dad").strip() == "1"
    assert web.run("cat", "/proc/sys/net/ipv4/conf/eth0/arp_announce").strip() == "2"
    assert Path("/proc/sys/net/ipv4/conf/all/forwarding").read_text().strip() == "1"


def test_a_successor_with_the_same_address_has_the_same_hardware_address(world: World) -> None:
    front = world.network()
    assert endpoint_mac(endpoint(front, "old", 2)) == endpoint_mac(endpoint(front, "new", 2))
    assert endpoint_mac(endpoint(front, "old", 2)) != endpoint_mac(endpoint(front, "old", 3))
    old = world.container("old", front, 2)
    assert world.host.ask("10.1.0.2", 80).startswith("old ")
    with world.host.within():
        remove_endpoint("eth0", old.tid)
    world.container("new", front, 2)
    assert world.host.ask("10.1.0.2", 80, Protocol.UDP) == "new 10.1.0.1"


def test_the_hosts_own_namespace_is_refused(world: World) -> None:
    front = world.network()
    with pytest.raises(Refused, match="shares the host's network"):
        ensure_endpoint(world.layout, endpoint(front, "web", 2), threading.get_native_id())


def test_a_process_that_is_gone_is_for_later(world: World) -> None:
    front = world.network()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(RetryLater, match="is gone"):
        ensure_endpoint(world.layout, endpoint(front, "web", 2), pid)
    web = world.machine("web")
    with pytest.raises(RetryLater, match="another took its number"):
        ensure_endpoint(world.layout, endpoint(front, "web", 2), web.tid, start_time=1)
    assert read_endpoints(web.tid) == ()


def test_a_process_is_plugged_by_pid_and_start_time(world: World) -> None:
    front = world.network()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        unshare(CLONE_NEWNET)
        os.write(write, b"x")
        signal.pause()
        os._exit(0)
    try:
        os.read(read, 1)
        start_time = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        ensure_endpoint(world.layout, endpoint(front, "web", 2), pid, start_time)
        (found,) = read_endpoints(pid, start_time)
        assert found.addresses == set(endpoint(front, "web", 2).addresses)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
        os.close(write)


def test_without_its_bridge_plugging_says_which_link_is_missing(world: World) -> None:
    web = world.machine("web")
    with pytest.raises(RetryLater, match="there is no link ttb"):
        ensure_endpoint(world.layout, endpoint(network(), "web", 2), web.tid)


def test_many_threads_plug_at_once_beside_an_event_loop(world: World) -> None:
    """As the daemon does: worker threads, each switching its own namespace, while the loop's thread stays."""
    front = world.network()
    machines = [world.machine(f"c{number}") for number in range(8)]
    home = current_namespace()

    async def plug_all() -> None:
        await asyncio.gather(
            *(
                asyncio.to_thread(ensure_endpoint, world.layout, endpoint(front, one.name, number), one.tid)
                for number, one in enumerate(machines, 2)
            )
        )
        # and once in the loop's own thread
        ensure_endpoint(world.layout, endpoint(front, machines[0].name, 2), machines[0].tid)

    asyncio.run(plug_all())
    assert current_namespace() == home
    for number, one in enumerate(machines, 2):
        assert differences(world, endpoint(front, one.name, number), one) == ()


def test_the_thread_comes_home_when_plugging_fails(world: World) -> None:
    front = world.network()
    web = world.machine("web")
    home = current_namespace()
    with pytest.raises(Refused):
        ensure_endpoint(world.layout, endpoint(front, "web", 2, interface="a-name-that-is-too-long"), web.tid)
    assert current_namespace() == home


def none_network(driver: Driver) -> NetworkWanted:
    return NetworkWanted(driver.value, driver=driver)


def test_the_drivers_none_and_host_ask_nothing_of_the_host(world: World) -> None:
    before = read_host_links()
    for driver in (Driver.NONE, Driver.HOST):
        ensure_network(world.layout, none_network(driver))
    alone = world.machine("alone")
    ensure_endpoint(world.layout, EndpointWanted(none_network(Driver.NONE), "alone"), alone.tid)
    ensure_endpoint(world.layout, EndpointWanted(none_network(Driver.HOST), "beside"), os.getpid())
    assert read_host_links() == before
    assert read_endpoints(alone.tid) == ()
    assert "LOOPBACK,UP" in alone.run("ip", "link", "show", "lo")


def test_an_address_is_announced_once_it_is_there(world: World) -> None:
    """The host's neighbour entry of a predecessor with another hardware address does not outlive it."""
    front = world.network()
    old = world.machine("old")
    ensure_endpoint(world.layout, endpoint(front, "old", 2, mac="02:00:00:00:00:01"), old.tid)
    old.listen(80, Protocol.UDP, 4, "10.1.0.2")
    assert world.host.ask("10.1.0.2", 80, Protocol.UDP).startswith("old ")
    remove_endpoint("eth0", old.tid)
    new = world.machine("new")
    ensure_endpoint(world.layout, endpoint(front, "new", 2, mac="02:00:00:00:00:02"), new.tid)
    new.listen(80, Protocol.UDP, 4, "10.1.0.2")
    assert world.host.ask("10.1.0.2", 80, Protocol.UDP).startswith("new ")


@pytest.mark.parametrize("version", [4, 6])
def test_a_successor_is_found_while_its_predecessor_still_hangs_on_the_bridge(world: World, version: int) -> None:
    both = network()
    front = replace(both, pools=tuple(pool for pool in both.pools if pool.subnet.version == version))
    ensure_network(world.layout, front)
    old, new, other = world.container("old", front, 2), world.machine("new"), world.container("other", front, 3)
    where = {4: "10.1.0.2", 6: "fd01:1::2"}[version]
    for asker in (world.host, other):
        assert asker.ask(where, 80, Protocol.UDP).startswith("old ")
    # as good as dead: it answers nobody, but tells of its multicast groups still
    old.run("ip", "link", "set", "eth0", "arp", "off")
    ensure_endpoint(world.layout, endpoint(front, "new", 2), new.tid)
    new.listen(80, Protocol.UDP, version)
    assert only(new).mac == only(old).mac
    for asker in (world.host, other):
        # a datagram may be lost on a busy machine: asked again, as any resolver would
        assert any(asker.ask(where, 80, Protocol.UDP).startswith("new ") for _ in range(3))


def test_what_a_predecessor_still_sends_draws_nothing_of_its_successors_traffic(world: World) -> None:
    """Its link lives on for a moment, and has the same hardware address. Who was plugged or corrected last has it."""
    front = world.network()
    old, new = world.container("old", front, 2), world.container("new", front, 2)
    for last, other in ((new, old), (old, new), (new, old)):
        ensure_endpoint(world.layout, endpoint(front, last.name, 2), last.tid)
        for _ in range(3):
            send_udp_frame(other, "eth0", "ff:ff:ff:ff:ff:ff", "10.1.0.2", "10.1.0.255", 9, b"still here")
            assert world.host.ask("10.1.0.2", 80, Protocol.UDP).startswith(f"{last.name} ")


def test_containers_settings_are_written_through_a_procfs_of_their_own(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The host's would keep an entry for each container, and everybody's way to a setting leads past all of them."""
    both, web = network(), world.machine("web")
    front = replace(both, pools=both.pools[:1])
    ensure_network(world.layout, front)
    monkeypatch.setattr(sysctl, "_NET", str(tmp_path / "no-procfs"))
    ensure_endpoint(world.layout, endpoint(front, "web", 2), web.tid)
    assert web.run("cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6").strip() == "1"


def test_a_port_has_no_address_of_its_own(world: World) -> None:
    """Of a thousand ports each would have routes of the host's, which the kernel walks whenever a link changes."""
    wanted = world.network()
    world.container("web", wanted, 2)
    bridge = world.layout.link("b", "front")
    told = subprocess.run(
        ["ip", "-details", "link", "show", "master", bridge], capture_output=True, text=True, check=True
    )
    assert "addrgenmode none" in told.stdout


def test_names_of_ports_never_clash(world: World) -> None:
    """A predecessor's link may still be dying when its successor starts under another pid."""
    front = world.network()
    first, second = world.machine("web"), world.machine("web")
    ensure_endpoint(world.layout, endpoint(front, "web", 2), first.tid)
    ensure_endpoint(world.layout, endpoint(front, "web", 3), second.tid)
    assert socket.if_nametoindex(world.layout.link("b", "front")) > 0
    assert len([link for link in read_host_links().values() if link.name.startswith("ttv")]) == 2
    assert ip_interface("10.1.0.2/24") in only(first).addresses


@pytest.mark.parametrize("name", ["ipv4.../../../kernel/hostname", "kernel.hostname", "ipv4.a/b", "ipv4.", "ipv4"])
def test_a_setting_that_would_be_another_file_is_refused(world: World, name: str) -> None:
    front = world.network()
    web = world.machine("web")
    with pytest.raises(Refused, match="no setting of an interface"):
        ensure_endpoint(world.layout, endpoint(front, "web", 2, sysctls=((name, "x"),)), web.tid)
