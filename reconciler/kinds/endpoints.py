"""What a container's attachments, published ports and names must look like in kernel and DNS: facts. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.addresses import Pool, mac_of
from reconciler.kinds.network import WIRED
from schemas.attachment import Attachment
from schemas.container import ContainerTemplate
from schemas.network import NetworkSpec, has_own_macs

Families = Mapping[int, str]
"""Address family -> address with prefix, as `10.0.0.2/24`."""

LINK_LOCAL = {ipaddress.ip_network("169.254.0.0/16"): 16, ipaddress.ip_network("fe80::/10"): 64}


@dataclass(frozen=True, slots=True)
class Joined:
    """One network that a container is attached to, with what it was given there."""

    name: str
    spec: NetworkSpec
    pools: Sequence[Pool]
    given: Families
    interface: str

    def gateway(self, family: int) -> str:
        """Of the pool that the container's address of that family was taken from."""
        address = ipaddress.ip_interface(self.given[family]).ip
        return next(str(pool.gateway) for pool in self.pools if pool.family == family and address in pool.subnet)

    @property
    def reaches_out(self) -> bool:
        return not self.spec.internal and bool(self.given)


def ways_out(spec: ContainerTemplate, joined: Sequence[Joined]) -> dict[int, Joined]:
    """Family -> the network that the default route goes by: of those that lead outside, the highest `gw_priority`."""
    found: dict[int, Joined] = {}
    for family in (4, 6):
        able = [each for each in joined if each.reaches_out and family in each.given]
        if able:
            found[family] = max(able, key=lambda each: _attachment(spec, each.name).gw_priority)
    return found


def endpoint_facts(spec: ContainerTemplate, joined: Sequence[Joined]) -> dict[str, Any]:
    """Network -> interface, mac where it has one of its own, addresses, gateways."""
    out = ways_out(spec, joined)
    return {
        each.name: _endpoint(each, _attachment(spec, each.name), [f for f, by in out.items() if by is each])
        for each in joined
        if each.given
    }


def _attachment(spec: ContainerTemplate, network: str) -> Attachment:
    return spec.networks.get(network) or Attachment()


def _endpoint(joined: Joined, attachment: Attachment, families: Sequence[int]) -> dict[str, Any]:
    first = ipaddress.ip_interface(next(iter(joined.given.values()))).ip
    found: dict[str, Any] = {
        "attached": True,
        "interface": joined.interface,
        "addresses": sorted([*joined.given.values(), *map(_further, attachment.link_local_ips)]),
        "gateways": [joined.gateway(family) for family in sorted(families)],
    }
    if has_own_macs(joined.spec):
        found["mac"] = attachment.mac_address or mac_of(first)
    if joined.spec.driver_opts.mtu is not None:
        found["mtu"] = joined.spec.driver_opts.mtu
    return found


def _further(address: str) -> str:
    """An address of `link_local_ips` with its prefix: that of its link-local range, else it stands alone."""
    ip = ipaddress.ip_address(address)
    prefix = next((p for net, p in LINK_LOCAL.items() if net.version == ip.version and ip in net), ip.max_prefixlen)
    return f"{ip}/{prefix}"


def name_facts(
    names: Sequence[str], service: str | None, spec: ContainerTemplate, joined: Sequence[Joined]
) -> dict[str, Any]:
    """Network -> the names the container answers to there, and its addresses.

    Of `service`, whose replica it is, too where no virtual address can stand in front of the replicas.
    """
    return {
        each.name: {
            "names": sorted({*names, *_attachment(spec, each.name).aliases, *_name_of_service(service, each)}),
            "addresses": sorted(bare(address) for address in each.given.values()),
        }
        for each in joined
        if each.given and each.spec.driver in ("bridge", *WIRED)
    }


def _name_of_service(service: str | None, joined: Joined) -> tuple[str, ...]:
    return (service,) if service is not None and joined.spec.driver in WIRED else ()


def asks_within(joined: Sequence[Joined]) -> bool:
    """Whether the container reaches no address of the host's: then names are answered in its own network namespace."""
    attached = [each.spec.driver for each in joined if each.given]
    return bool(attached) and all(driver in WIRED for driver in attached)


def bare(address: str) -> str:
    """`10.0.0.2/24` -> `10.0.0.2`."""
    return address.partition("/")[0]


def host_addresses(host_ip: str | None, out: Mapping[int, Joined]) -> dict[int, str]:
    """Family -> address of the host that a port is published at, for the families that both sides have.

    A port that names no address takes its network's `host_binding_ipv4`; one that is not every address leaves IPv6 out,
    as with Docker: whoever wrote 127.0.0.1 must not find the port open at ::.
    """
    if host_ip is not None:
        family = ipaddress.ip_address(host_ip).version
        return {family: host_ip} if family in out else {}
    bound = out[4].spec.driver_opts.host_binding_ipv4 if 4 in out else None
    if bound is not None and not ipaddress.ip_address(bound).is_unspecified:
        return {4: bound}
    return {family: "0.0.0.0" if family == 4 else "::" for family in out}


def port_facts(
    host_ip: str | None, protocol: str, published: int, target: int, out: Mapping[int, Joined]
) -> dict[str, str]:
    """Where at the host -> where in the container, for each family the host address covers.

    By the network of the default route: by any other the answer would not find back.
    """
    return {
        f"{protocol} {join(at, published)}": join(bare(out[family].given[family]), target)
        for family, at in host_addresses(host_ip, out).items()
    }


def join(address: str, port: int) -> str:
    """`[::1]:80` or `127.0.0.1:80` (RFC 5952, section 6)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def interface_of(sysctl: str) -> str | None:
    """The link whose setting a sysctl is, as `eth0` of `net.ipv4.conf.eth0.forwarding`: written when it is plugged."""
    parts = sysctl.split("/") if "/" in sysctl else sysctl.split(".")
    if len(parts) < 5 or parts[0] != "net" or parts[1] not in ("ipv4", "ipv6") or parts[2] != "conf":
        return None
    return parts[3] if parts[3] not in ("all", "default", "lo") else None
