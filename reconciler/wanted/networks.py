"""What the network room is asked for: networks, endpoints, publications, balances."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.addresses import Pool as GivenPool
from runtime.network.records import (
    Backend,
    Driver,
    EndpointWanted,
    Gateway,
    NetworkWanted,
    Pool,
    Protocol,
    Publication,
    ServiceBalance,
    ServicePort,
)
from schemas.network import NetworkSpec


def network_wanted(name: str, spec: NetworkSpec, pools: Sequence[GivenPool]) -> NetworkWanted:
    options = spec.driver_opts
    return NetworkWanted(
        name=name,
        driver=Driver(spec.driver),
        parent=options.parent or "",
        mode=options.mode or "",
        mtu=options.mtu,
        internal=spec.internal,
        icc=options.enable_icc,
        isolated=options.isolation,
        masquerade=options.enable_ip_masquerade,
        pools=tuple(Pool(pool.subnet, pool.gateway) for pool in pools),
    )


def endpoint_wanted(network: NetworkWanted, container: str, facts: Mapping[str, Any]) -> EndpointWanted:
    """From the facts of one attachment, as the planner wants them."""
    return EndpointWanted(
        network=network,
        container=container,
        interface=facts["interface"],
        mac=facts["mac"],
        addresses=tuple(ipaddress.ip_interface(address) for address in facts["addresses"]),
        gateways=tuple(Gateway(ipaddress.ip_address(address)) for address in facts["gateways"]),
        mtu=network.mtu,
    )


def publications(container: str, facts: Mapping[str, str], incarnation: str) -> Iterator[Publication]:
    """From the facts of published ports: `tcp 0.0.0.0:8080` -> `10.0.0.2:80`."""
    for at, to in facts.items():
        protocol, _, host = at.partition(" ")
        host_address, host_port = split(host)
        address, port = split(to)
        yield Publication(
            container=container,
            protocol=Protocol(protocol),
            host_port=host_port,
            address=address,
            container_port=port,
            host_address=None if host_address.is_unspecified else host_address,
            incarnation=incarnation,
        )


def split(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """`[::1]:80` -> its address and port."""
    address, _, port = text.rpartition(":")
    return ipaddress.ip_address(address.strip("[]")), int(port)


def balance_name(service: str, network: str) -> str:
    """A Service is balanced on each of its networks by itself. Names have no capitals: nothing else reads like this."""
    return f"{service}_AT_{network}"


def balance(service: str, network: str, facts: Mapping[str, Any], incarnations: Mapping[str, str]) -> ServiceBalance:
    """`incarnations`: of the replicas that run; others are left out of the balancing."""
    return ServiceBalance(
        service=service,
        network=network,
        virtual_addresses=frozenset(map(ipaddress.ip_address, facts["virtual"])),
        backends=frozenset(
            Backend(name, ipaddress.ip_address(address), incarnations[name])
            for name, addresses in facts["backends"].items()
            if name in incarnations
            for address in addresses
        ),
        ports=frozenset(_port(at, inside) for at, inside in facts.get("ports", {}).items()),
    )


def _port(at: str, inside: int) -> ServicePort:
    protocol, _, port = at.partition(" ")
    return ServicePort(Protocol(protocol), int(port), inside)
