"""What the network room is asked for, and what it found: frozen records, no effects.

Addresses are given by the planner; nothing here invents one. An endpoint is one container's attachment to one
network; a publication makes one of its ports reachable at the host; a balance spreads a Service's virtual
addresses over its replicas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Subnet = IPv4Network | IPv6Network


class Driver(StrEnum):
    """How a network's endpoints are plugged (Compose `driver`)."""

    BRIDGE = "bridge"
    MACVLAN = "macvlan"
    IPVLAN = "ipvlan"
    HOST = "host"
    NONE = "none"


class Protocol(StrEnum):
    """Transport protocols a port may be published for, by their nft names."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


@dataclass(frozen=True, slots=True)
class Pool:
    """One subnet of a network. `gateway` is the bridge's own address in it; None gives the bridge none."""

    subnet: Subnet
    gateway: Address | None = None


@dataclass(frozen=True, slots=True)
class NetworkWanted:
    """One network.

    `link` names the bridge (empty: the layout's name for it); `parent` the host's link below macvlan or ipvlan.
    `mode`: macvlan bridge, private, vepa or passthru; ipvlan l2, l3 or l3s; empty is the first.
    `internal`: no way out and none in. `icc` (inter-container communication): whether its containers reach
    each other. `isolated`: whether other networks' containers are kept out. `masquerade`: whether what leaves the
    host takes the host's address.
    """

    name: str
    driver: Driver = Driver.BRIDGE
    link: str = ""
    parent: str = ""
    mode: str = ""
    mtu: int | None = None
    internal: bool = False
    icc: bool = True
    isolated: bool = True
    masquerade: bool = True
    pools: tuple[Pool, ...] = ()


@dataclass(frozen=True, slots=True)
class Gateway:
    """A default route; among several the lowest `metric` wins (0: the kernel's default)."""

    address: Address
    metric: int = 0


@dataclass(frozen=True, slots=True)
class EndpointWanted:
    """One container's attachment to one network.

    `interface` is the link's name inside. Without `mac` one is derived from the first address, so that a
    successor with the same address meets no stale neighbour entries. `aliases` are for the DNS, unused here.
    `sysctls` are of the interface: `ipv4.forwarding` means `net.ipv4.conf.<interface>.forwarding`.
    """

    network: NetworkWanted
    container: str
    interface: str = "eth0"
    mac: str = ""
    addresses: tuple[Interface, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    aliases: tuple[str, ...] = ()
    mtu: int | None = None
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One unicast route of a main table. `subnet` of length 0 is a default route."""

    subnet: Subnet
    gateway: Address | None
    interface: str
    metric: int = 0


@dataclass(frozen=True, slots=True)
class ObservedEndpoint:
    """One link inside a container's network namespace (never `lo`).

    `attached_to` is the name of the bridge or parent its host side belongs to, empty when the host side is
    missing, down or attached to nothing.
    """

    interface: str
    kind: str
    mac: str
    mtu: int
    up: bool
    addresses: frozenset[Interface]
    routes: frozenset[Route]
    attached_to: str = ""


@dataclass(frozen=True, slots=True)
class ObservedNetwork:
    """One network's link on the host.

    `virtual_addresses` are those of Services (single addresses); `forwards` the IP versions the host forwards.
    """

    name: str
    driver: Driver
    link: str
    up: bool
    mtu: int
    addresses: frozenset[Interface]
    virtual_addresses: frozenset[Address]
    settings: Mapping[str, str] = field(default_factory=dict)
    forwards: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, order=True)
class Publication:
    """One port of a container at the host. `host_address` None is every address of the host.

    `incarnation` tells one start of the container from the next, so that a late farewell of the old one takes
    nothing from the new one.
    """

    container: str
    protocol: Protocol
    host_port: int
    address: Address
    container_port: int
    host_address: Address | None = None
    incarnation: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """One replica of a Service that takes connections, in one address family."""

    container: str
    address: Address
    incarnation: str = ""


@dataclass(frozen=True, slots=True, order=True)
class ServicePort:
    """A host port balanced over a Service's replicas.

    `host_address` None is every address of the host; an unspecified one is every address of its family.
    """

    protocol: Protocol
    host_port: int
    container_port: int
    host_address: Address | None = None


@dataclass(frozen=True, slots=True)
class ServiceBalance:
    """A Service's virtual addresses (at most one per family) and what stands behind them. Order means nothing."""

    service: str
    network: str
    virtual_addresses: frozenset[Address] = frozenset()
    backends: frozenset[Backend] = frozenset()
    ports: frozenset[ServicePort] = frozenset()


@dataclass(frozen=True, slots=True)
class NetworkRules:
    """What the firewall does for one network; equal to `rules_of(layout, wanted)` when nothing is amiss."""

    link: str
    internal: bool
    icc: bool
    isolated: bool
    masquerade: bool
    gateways: frozenset[Address]
    subnets: frozenset[Subnet]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class ObservedFirewall:
    """What our nftables tables hold now. `whole` says that every rule that is not an element is as we wrote it."""

    whole: bool
    networks: Mapping[str, NetworkRules]
    publications: frozenset[Publication]
    services: Mapping[str, ServiceBalance]


@dataclass(frozen=True, slots=True)
class Listener:
    """A port of the host that a process listens at.

    `address` None is every address of IP `version`, which is 0 for both. `inode` names the socket in /proc.
    """

    protocol: Protocol
    address: Address | None
    port: int
    version: int
    inode: int = 0

    def blocks(self, protocol: Protocol, port: int, address: Address | None, version: int) -> bool:
        """Whether publishing that port (at every address of `version` when None) would cross this listener."""
        if (self.protocol, self.port) != (protocol, port) or self.version not in (0, version):
            return False
        return self.address is None or address is None or self.address == address
