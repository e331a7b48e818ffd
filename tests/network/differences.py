"""What differs between a network or an endpoint as wanted and as observed, in words: nothing where it was ensured."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.layout import Layout
from runtime.network.naming import bridge_name, endpoint_mac, has_own_mac
from runtime.network.plug import LINK_KINDS
from runtime.network.records import (
    Driver,
    EndpointWanted,
    NetworkWanted,
    ObservedEndpoint,
    ObservedNetwork,
    Subnet,
)
from runtime.network.settings import BRIDGE_BEHIND_RULES, bridge_settings


def network_differences(wanted: NetworkWanted, observed: ObservedNetwork | None) -> tuple[str, ...]:
    """What `ensure_network` would correct of a bridge network's link."""
    if wanted.driver is not Driver.BRIDGE:
        return ()
    return tuple(_network(wanted, observed)) if observed is not None else ("the bridge is missing",)


def endpoint_differences(layout: Layout, wanted: EndpointWanted, observed: ObservedEndpoint | None) -> tuple[str, ...]:
    """What `ensure_endpoint` would correct."""
    if wanted.network.driver not in LINK_KINDS:
        return ()
    return tuple(_endpoint(layout, wanted, observed)) if observed is not None else ("the link is missing",)


def _network(wanted: NetworkWanted, observed: ObservedNetwork) -> Iterator[str]:
    if not observed.up:
        yield f"{observed.link} is down"
    if wanted.mtu is not None and observed.mtu != wanted.mtu:
        yield f"mtu is {observed.mtu}, not {wanted.mtu}"
    have = {str(one) for one in observed.addresses}
    want = {f"{pool.gateway}/{pool.subnet.prefixlen}" for pool in wanted.pools if pool.gateway is not None}
    yield from _sets("address", have, want)
    for version in sorted({pool.subnet.version for pool in wanted.pools} - observed.forwards):
        yield f"the host does not forward IPv{version}"
    for name, value in (bridge_settings(wanted) | BRIDGE_BEHIND_RULES).items():
        found = observed.settings.get(name, value)
        if found != value:
            yield f"{name} is {found}, not {value}"


def _endpoint(layout: Layout, wanted: EndpointWanted, observed: ObservedEndpoint) -> Iterator[str]:
    network = wanted.network
    if observed.kind != LINK_KINDS[network.driver]:
        yield f"{observed.interface} is a {observed.kind or 'link of another kind'}, not a {LINK_KINDS[network.driver]}"
    lower = bridge_name(layout, network) if network.driver is Driver.BRIDGE else network.parent
    if observed.attached_to != lower:
        yield f"{observed.interface} is attached to {observed.attached_to or 'nothing'}, not to {lower}"
    if not observed.up:
        yield f"{observed.interface} is down"
    if has_own_mac(wanted) and observed.mac != endpoint_mac(wanted):
        yield f"mac is {observed.mac}, not {endpoint_mac(wanted)}"
    mtu = wanted.mtu if wanted.mtu is not None else network.mtu
    if mtu is not None and observed.mtu != mtu:
        yield f"mtu is {observed.mtu}, not {mtu}"
    yield from _sets("address", {str(one) for one in observed.addresses}, {str(one) for one in wanted.addresses})
    have = {_via(route.subnet, str(route.gateway)) for route in observed.routes if route.subnet.prefixlen == 0}
    yield from _sets("default route via", have, {str(gateway.address) for gateway in wanted.gateways})


def _via(subnet: Subnet, gateway: str) -> str:
    return gateway if gateway != "None" else f"{subnet} on the link"


def _sets(what: str, have: set[str], want: set[str]) -> Iterator[str]:
    for one in sorted(want - have):
        yield f"{what} {one} is missing"
    for one in sorted(have - want):
        yield f"{what} {one} is not wanted"
