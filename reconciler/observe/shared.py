"""What the machine holds in one piece: the firewall, the DNS server, the host's links and addresses. Each read at most
once per pass, and only when something asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from reconciler.engine import Engine
from runtime.network.dns.process import ObservedDns, read_dns
from runtime.network.firewall.observe import read_firewall
from runtime.network.links import Link
from runtime.network.observe import AskedLinks, read_host_links, read_virtual_addresses
from runtime.network.records import Address, ObservedFirewall, Publication


class Shared:
    """`few`: the pass looks at so few objects that asking for single links is cheaper than reading all."""

    def __init__(self, engine: Engine, *, few: bool = False) -> None:
        self._layout = engine.layout
        self._few = few

    @cached_property
    def firewall(self) -> ObservedFirewall:
        return read_firewall(self._layout)

    @cached_property
    def dns(self) -> ObservedDns:
        return read_dns(self._layout)

    @cached_property
    def links(self) -> Mapping[int, Link]:
        return AskedLinks() if self._few else read_host_links()

    @cached_property
    def virtual_addresses(self) -> Mapping[str, frozenset[Address]]:
        """Those that stand on a bridge, by network that has a Service."""
        networks = {balance.network for balance in self.firewall.services.values()}
        return read_virtual_addresses(self._layout, networks)

    @cached_property
    def publications(self) -> Mapping[str, list[Publication]]:
        by_container: dict[str, list[Publication]] = {}
        for publication in self.firewall.publications:
            by_container.setdefault(publication.container, []).append(publication)
        return by_container
