"""What the machine holds in one piece, read once per pass: the firewall, the DNS server, the names it serves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from reconciler.engine import Engine
from runtime.network.dns.process import ObservedDns, read_dns
from runtime.network.dns.record_files import NetworkRecords
from runtime.network.dns.records import read_records
from runtime.network.firewall.observe import read_firewall
from runtime.network.observe import HostLink, read_host_links
from runtime.network.records import ObservedFirewall, Publication
from schemas.names import Kind


@dataclass(frozen=True, slots=True)
class Shared:
    firewall: ObservedFirewall
    dns: ObservedDns
    names: Mapping[str, NetworkRecords]
    links: Mapping[int, HostLink] = field(default_factory=dict)
    publications: Mapping[str, list[Publication]] = field(default_factory=dict)


def read_shared(engine: Engine, kinds: Collection[Kind]) -> Shared:
    """Read only what some object of `kinds` asks for."""
    if not {Kind.CONTAINER, Kind.NETWORK, Kind.SERVICE} & set(kinds):
        return Shared(ObservedFirewall(False, {}, frozenset(), {}), ObservedDns(alive=False), {})
    firewall = read_firewall(engine.layout)
    by_container: dict[str, list[Publication]] = {}
    for publication in firewall.publications:
        by_container.setdefault(publication.container, []).append(publication)
    return Shared(firewall, read_dns(engine.layout), read_records(engine.layout), read_host_links(), by_container)
