"""What the network room is asked for: networks, endpoints, publications, balances."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.addresses import Pool as GivenPool
from reconciler.kinds.endpoints import interface_of, join
from runtime.layout import Layout
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

OTHER_FAMILY = {"0.0.0.0": "::", "::": "0.0.0.0"}
"""Every address of the host, in either family."""


def network_wanted(name: str, spec: NetworkSpec, pools: Sequence[GivenPool]) -> NetworkWanted:
    """A manifest, and the pools allotted to it, in the words of the network's room."""
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


def endpoint_wanted(
    network: NetworkWanted, container: str, facts: Mapping[str, Any], sysctls: Mapping[str, str]
) -> EndpointWanted:
    """From the facts of one attachment, as the planner wants them; `sysctls` of its link are written with it."""
    return EndpointWanted(
        network=network,
        container=container,
        interface=facts["interface"],
        mac=facts.get("mac", ""),
        addresses=tuple(ipaddress.ip_interface(address) for address in facts["addresses"]),
        gateways=tuple(Gateway(ipaddress.ip_address(address)) for address in facts["gateways"]),
        mtu=network.mtu,
        sysctls=tuple(_settings(facts["interface"], sysctls)),
    )


def _settings(interface: str, sysctls: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """`net.ipv4.conf.eth0.forwarding` -> `ipv4.forwarding` of the link eth0."""
    for name, value in sysctls.items():
        if interface_of(name) == interface:
            parts = name.split("/") if "/" in name else name.split(".")
            yield f"{parts[1]}.{parts[4]}", value


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
        ports=frozenset(_ports(facts.get("ports", {}))),
    )


def _ports(facts: Mapping[str, int]) -> Iterator[ServicePort]:
    """From `tcp 127.0.0.1:8080` -> 80. One that is open at every address of both families is one port."""
    for at, inside in facts.items():
        protocol, _, host = at.partition(" ")
        address, port = split(host)
        other = f"{protocol} {join(OTHER_FAMILY[str(address)], port)}" if address.is_unspecified else ""
        everywhere = facts.get(other) == inside
        if not everywhere or address.version == 4:
            yield ServicePort(Protocol(protocol), port, inside, None if everywhere else address)


def port_facts(balance: ServiceBalance) -> dict[str, int]:
    """The way back."""
    found: dict[str, int] = {}
    for port in balance.ports:
        addresses = OTHER_FAMILY if port.host_address is None else (str(port.host_address),)
        found |= {f"{port.protocol} {join(address, port.host_port)}": port.container_port for address in addresses}
    return found


def is_own_bridge(layout: Layout, link: str) -> bool:
    """Whether a link of the host is a bridge of this engine."""
    return bool(link) and link.startswith(layout.link("b", "")[:-6])
