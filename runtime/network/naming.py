"""Names and hardware addresses that only their owner's name decides. Pure, and without pyroute2."""

from __future__ import annotations

import hashlib

from runtime.layout import Layout
from runtime.network.records import Driver, EndpointWanted, NetworkWanted


def bridge_name(layout: Layout, wanted: NetworkWanted) -> str:
    """The bridge's name on the host."""
    return wanted.link or layout.link("b", wanted.name)


def bridge_mac(name: str) -> str:
    """A fixed address: a bridge left to itself takes that of its lowest port, and every neighbour forgets it."""
    return local_mac(f"bridge {name}")


def port_group(bridge: str) -> int:
    """The device group of all ports of a bridge, by which rules of nft's bridge family know the bridge."""
    return int.from_bytes(hashlib.sha256(bridge.encode()).digest()[:4], "big") & 0x7FFFFFFF | 0x10000000


def endpoint_mac(wanted: EndpointWanted) -> str:
    """The wanted hardware address, or one that the network and the first address decide."""
    first = wanted.addresses[0].ip if wanted.addresses else wanted.container
    return wanted.mac.lower() or local_mac(f"{wanted.network.name} {first}")


def has_own_mac(wanted: EndpointWanted) -> bool:
    """Whether the link may have a hardware address: of ipvlan and of macvlan's passthru it is the parent's."""
    return wanted.network.driver is not Driver.IPVLAN and wanted.network.mode != "passthru"


def bridge_alias(network: str) -> str:
    """What `ip link` shows beside the bridge, and how `read_bridges` knows whose it is."""
    return f"trimtab network {network}"


def network_of_alias(alias: str) -> str:
    """The network that an alias names; empty for any other alias."""
    return alias.removeprefix("trimtab network ") if alias.startswith("trimtab network ") else ""


def local_mac(text: str) -> str:
    """A locally administered unicast address that only `text` decides."""
    digest = hashlib.sha256(text.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))
