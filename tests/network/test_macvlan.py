"""macvlan and ipvlan: containers on the parent's wire, or a refusal by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.network.endpoint import ensure_endpoint
from runtime.network.network import ensure_network
from runtime.network.observe import read_endpoints
from runtime.network.records import Driver, EndpointWanted, NetworkWanted, ObservedEndpoint, Protocol
from schemas.errors import Refused, RetryLater
from tests.network.differences import endpoint_differences
from tests.network.world import IMPATIENCE, PATIENCE, Machine, World, ask, batch, endpoint, network

pytestmark = pytest.mark.kernel


def only(machine: Machine) -> ObservedEndpoint:
    (found,) = read_endpoints(machine.tid)
    return found


def differences(world: World, wanted: EndpointWanted, machine: Machine) -> tuple[str, ...]:
    found = {one.interface: one for one in read_endpoints(machine.tid)}
    return endpoint_differences(world.layout, wanted, found.get(wanted.interface))


def macvlan(mode: str = "bridge") -> NetworkWanted:
    return replace(network("lan", 1), driver=Driver.MACVLAN, parent="up1", mode=mode)


def lan(world: World) -> Machine:
    """A wire to an outside machine that has 10.1.0.200 and fd01:1::c8."""
    outside = world.outside()
    outside.run("ip", "address", "add", "10.1.0.200/24", "dev", "up0")
    outside.run("ip", "address", "add", "fd01:1::c8/64", "dev", "up0", "nodad")
    return outside


@pytest.mark.parametrize("mode", ["", "bridge", "private", "vepa"])
def test_macvlan_puts_containers_on_the_parents_wire(world: World, mode: str) -> None:
    outside = lan(world)
    wanted = macvlan(mode)
    ensure_network(world.layout, wanted)
    first, second = world.machine("first"), world.machine("second")
    for number, machine in enumerate((first, second), 2):
        ensure_endpoint(world.layout, endpoint(wanted, machine.name, number), machine.tid)
        ensure_endpoint(world.layout, endpoint(wanted, machine.name, number), machine.tid)
        assert differences(world, endpoint(wanted, machine.name, number), machine) == ()
        machine.listen(80)
        machine.listen(80, version=6)
    assert only(first).kind == "macvlan"
    assert only(first).attached_to == "up1"
    assert outside.ask("10.1.0.2", 80) == "first 10.1.0.200"
    assert outside.ask("fd01:1::3", 80) == "second fd01:1::c8"
    expected = "first 10.1.0.3" if mode in ("", "bridge") else "silence"
    with second.within():
        assert ask("10.1.0.2", 80, Protocol.TCP, PATIENCE if mode in ("", "bridge") else IMPATIENCE) in (
            expected,
            "unreachable: No route to host",
        )


def test_macvlan_passthru_takes_the_parent_whole(world: World) -> None:
    lan(world)
    wanted = macvlan("passthru")
    first, second = world.machine("first"), world.machine("second")
    ensure_endpoint(world.layout, endpoint(wanted, "first", 2), first.tid)
    assert differences(world, endpoint(wanted, "first", 2), first) == ()
    with pytest.raises(Refused):
        ensure_endpoint(world.layout, endpoint(wanted, "second", 3), second.tid)


def test_macvlan_drift_shows_and_is_corrected(world: World) -> None:
    lan(world)
    wanted = endpoint(macvlan(), "first", 2)
    first = world.machine("first")
    ensure_endpoint(world.layout, wanted, first.tid)
    with first.within():
        batch("link del eth0", "link add eth0 type bridge")
    assert differences(world, wanted, first)[0] == "eth0 is a bridge, not a macvlan"
    ensure_endpoint(world.layout, wanted, first.tid)
    assert differences(world, wanted, first) == ()


def test_macvlan_without_its_parent_says_so(world: World) -> None:
    with pytest.raises(RetryLater, match="the host needs a link up1"):
        ensure_network(world.layout, macvlan())


@pytest.mark.vm
def test_ipvlan_works_or_is_refused_by_name(world: World) -> None:
    outside = lan(world)
    wanted = replace(macvlan(), driver=Driver.IPVLAN, mode="l2")
    first = world.machine("first")
    try:
        ensure_endpoint(world.layout, endpoint(wanted, "first", 2), first.tid)
    except Refused as refusal:
        assert "this kernel has no ipvlan" in str(refusal)
        assert read_endpoints(first.tid) == ()
        return
    first.listen(80)
    for _ in range(2):
        assert differences(world, endpoint(wanted, "first", 2), first) == ()
        assert outside.ask("10.1.0.2", 80) == "first 10.1.0.200"
        ensure_endpoint(world.layout, endpoint(wanted, "first", 2), first.tid)
