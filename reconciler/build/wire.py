"""The network of RUN by default: a bridge of the builder's own, on which no two RUNs reach each other.

Made when the first RUN needs it, taken away when the last one has ended. No manifest names it and no store remembers
it: its subnet is the last automatic one that the host routes nowhere, so that it is in no Network's way; an address is
whose holds the lock of its number. IPv6 beside IPv4 where the host has a way out by it.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.addresses import AUTOMATIC_V4, AUTOMATIC_V4_PREFIX, NARROWEST_ROUTE, last_v6
from runtime.images.locks import lock
from runtime.layout import Layout
from runtime.network.dns.process import ensure_dns
from runtime.network.dns.records import ensure_listen, remove_listen
from runtime.network.endpoint import ensure_endpoint
from runtime.network.host import read_host_routes
from runtime.network.network import ensure_network, read_network, remove_network
from runtime.network.records import EndpointWanted, Gateway, NetworkWanted, Pool
from schemas.errors import RetryLater

NAME = ".build"
SERVED_AS = "trimtab.build"
"""To the DNS server, which takes no name with a leading dot."""
MARK = "network"
"""There as long as the network may be."""
FIRST_HOST = 2


@dataclass(frozen=True, slots=True)
class Wire:
    """One RUN's place in the network, and the servers that it asks for names."""

    network: NetworkWanted
    addresses: tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...]
    resolvers: tuple[str, ...]

    def plug(self, layout: Layout, container: str, pid: int, start_time: int) -> None:
        """Before its program starts. Raises Refused, RetryLater."""
        gateways = tuple(Gateway(pool.gateway) for pool in self.network.pools if pool.gateway is not None)
        wanted = EndpointWanted(self.network, container, addresses=self.addresses, gateways=gateways)
        ensure_endpoint(layout, wanted, pid, start_time)


@contextmanager
def wire(layout: Layout, resolvers: Sequence[str]) -> Iterator[Wire]:
    """The network as long as somebody needs it, and an address in it. Raises Refused, RetryLater."""
    directory = layout.run / "build"
    directory.mkdir(parents=True, exist_ok=True)
    used = os.open(directory / "network.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    slot = -1
    try:
        with _alone(directory):
            lock(used, wait=True, shared=True)
            network = _ensure(layout)
            slot, number = _slot(directory / "slots")
            servers = tuple(resolvers) or _own_server(layout, network)
        subnets = [pool.subnet for pool in network.pools]
        addresses = [ipaddress.ip_interface(f"{each.network_address + number}/{each.prefixlen}") for each in subnets]
        yield Wire(network, tuple(addresses), servers)
    finally:
        if slot >= 0:
            os.close(slot)
        try:
            with _alone(directory):
                if lock(used):  # nobody else shares it
                    _remove(layout)
        finally:
            os.close(used)


def tidy(layout: Layout) -> None:
    """Take the network away that a killed builder left, unless another's RUN needs it. Raises Refused, RetryLater."""
    directory = layout.run / "build"
    if not (directory / MARK).exists():
        return
    used = os.open(directory / "network.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with _alone(directory):
            if lock(used):
                _remove(layout)
    finally:
        os.close(used)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    fd = os.open(directory / "making.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        lock(fd, wait=True)
        yield
    finally:
        os.close(fd)


def _ensure(layout: Layout) -> NetworkWanted:
    have = read_network(layout, NAME)
    subnets: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    if have is not None:
        subnets = sorted(
            (each.network for each in have.addresses if not each.is_link_local), key=lambda net: net.version
        )
    if not any(each.version == 4 for each in subnets):
        subnets = [_free_subnet(), *_free_subnet_v6(layout)]
    network = NetworkWanted(NAME, icc=False, pools=tuple(Pool(each, each.network_address + 1) for each in subnets))
    (layout.run / "build" / MARK).touch()
    ensure_network(layout, network)
    return network


def _free_subnet() -> ipaddress.IPv4Network:
    routed = [route.subnet for route in read_host_routes() if route.subnet.prefixlen >= NARROWEST_ROUTE]
    for candidate in reversed(list(AUTOMATIC_V4.subnets(new_prefix=AUTOMATIC_V4_PREFIX))):
        if not any(subnet.version == 4 and candidate.overlaps(subnet) for subnet in routed):
            return candidate
    raise RetryLater(f"no subnet of {AUTOMATIC_V4} is free", step="network of the build")


def _free_subnet_v6(layout: Layout) -> Iterator[ipaddress.IPv6Network]:
    """One, where the host has a default route; none where what it has of its own is used up."""
    routed = [route.subnet for route in read_host_routes() if route.subnet.version == 6]
    if not any(subnet.prefixlen < NARROWEST_ROUTE for subnet in routed):
        return
    for candidate in last_v6(layout.engine_id):
        if not any(candidate.overlaps(subnet) for subnet in routed if subnet.prefixlen >= NARROWEST_ROUTE):
            yield candidate
            return


def _slot(directory: Path) -> tuple[int, int]:
    """A number that nobody else has, as long as the descriptor is open."""
    directory.mkdir(exist_ok=True)
    for number in range(FIRST_HOST, 2 ** (32 - AUTOMATIC_V4_PREFIX) - 1):
        fd = os.open(directory / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if lock(fd):
            return fd, number
        os.close(fd)
    raise RetryLater("every address is taken", step="network of the build")


def _own_server(layout: Layout, network: NetworkWanted) -> tuple[str, ...]:
    """The engine's, where the host's own resolver listens on the loopback interface alone."""
    gateway, subnet = network.pools[0].gateway, network.pools[0].subnet
    ensure_dns(layout)
    ensure_listen(layout, SERVED_AS, [f"{gateway}/{subnet.prefixlen}"])
    return (str(gateway),)


def _remove(layout: Layout) -> None:
    remove_network(layout, NAME)
    remove_listen(layout, SERVED_AS)
    (layout.run / "build" / MARK).unlink(missing_ok=True)
