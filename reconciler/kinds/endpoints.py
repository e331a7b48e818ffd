"""What a container's attachments, published ports and names must look like in kernel and DNS: facts. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.addresses import Pool, mac_of
from schemas.attachment import Attachment
from schemas.container import ContainerSpec

Families = Mapping[int, str]
"""Address family -> address with prefix, as `10.0.0.2/24`."""


def endpoint_facts(
    spec: ContainerSpec, networks: Sequence[str], given: Mapping[str, Families], pools: Mapping[str, Sequence[Pool]]
) -> dict[str, Any]:
    """Network -> interface, mac, addresses, gateways. The default route goes by the highest `gw_priority`."""
    default = max(networks, key=lambda name: _attachment(spec, name).gw_priority, default=None)
    return {
        name: _endpoint(_attachment(spec, name), f"eth{index}", given[name], pools[name], name == default)
        for index, name in enumerate(networks)
        if given[name]
    }


def _attachment(spec: ContainerSpec, network: str) -> Attachment:
    return spec.networks.get(network) or Attachment()


def _endpoint(
    attachment: Attachment, interface: str, given: Families, pools: Sequence[Pool], default: bool
) -> dict[str, Any]:
    first = ipaddress.ip_interface(next(iter(given.values()))).ip
    gateways = [str(pool.gateway) for pool in pools if pool.family in given] if default else []
    return {
        "attached": True,
        "interface": attachment.interface_name or interface,
        "mac": attachment.mac_address or mac_of(first),
        "addresses": sorted([*given.values(), *attachment.link_local_ips]),
        "gateways": gateways,
    }


def name_facts(
    names: Sequence[str], spec: ContainerSpec, networks: Sequence[str], given: Mapping[str, Families]
) -> dict[str, Any]:
    """Network -> the names the container answers to there, and its addresses."""
    return {
        network: {
            "names": sorted({*names, *_attachment(spec, network).aliases}),
            "addresses": sorted(bare(address) for address in given[network].values()),
        }
        for network in networks
        if given[network]
    }


def bare(address: str) -> str:
    """`10.0.0.2/24` -> `10.0.0.2`."""
    return address.partition("/")[0]


def port_facts(host_ip: str | None, protocol: str, published: int, target: int, given: Families) -> dict[str, str]:
    """Where at the host -> where in the container, for each family the host address covers."""
    found: dict[str, str] = {}
    for family, address in given.items():
        if host_ip is None or ipaddress.ip_address(host_ip).version == family:
            at = host_ip or ("0.0.0.0" if family == 4 else "::")
            found[f"{protocol} {join(at, published)}"] = join(bare(address), target)
    return found


def join(address: str, port: int) -> str:
    """`[::1]:80` or `127.0.0.1:80` (RFC 5952, section 6)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
