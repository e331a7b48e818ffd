"""The server's names in memory, and what one client may see of them.

Fed by the watcher (one owner at a time), asked by the answers. A view is what a client's question is answered from:
the network at whose gateway it asked, then the other networks the same container is attached to, so that a container
in two networks resolves the names of both through either gateway. One that asks within its own namespace sees all of
its networks, whatever address it asks from. Pure data: no sockets, no files.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network

from runtime.network.dns.record_files import OwnerRecords, is_dns_name

MAX_VIEWS = 4096
"""Clients remembered; beyond it all are forgotten, since a hostile one can invent addresses of its subnet."""
MAX_CACHED = 4096
"""Replies remembered over all views; beyond it all are forgotten."""

Address = IPv4Address | IPv6Address


@dataclass(slots=True)
class Zone:
    """One network's names. `names` and `addresses` are kept in step with `owners` by `put` and `drop`."""

    network: str
    listen: tuple[str, ...] = ()
    internal: bool = False
    owners: dict[str, OwnerRecords] = field(default_factory=dict)
    names: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    clients: dict[str, str] = field(default_factory=dict)
    subnets: tuple[IPv4Network | IPv6Network, ...] = ()

    def set_network(self, listen: tuple[str, ...], internal: bool, subnets: tuple[str, ...] = ()) -> None:
        self.listen, self.internal = listen, internal
        self.subnets = (*(ip_interface(address).network for address in listen), *map(ip_network, subnets))

    def put(self, owner: str, records: OwnerRecords) -> None:
        self.drop(owner)
        self.owners[owner] = records
        for name in records.names:
            self.names.setdefault(name, {})[owner] = records.addresses
        for address in records.addresses:
            self.clients[address] = owner

    def drop(self, owner: str) -> None:
        records = self.owners.pop(owner, None)
        if records is None:
            return
        for name in records.names:
            bringers = self.names[name]
            del bringers[owner]
            if not bringers:
                del self.names[name]
        for address in records.addresses:
            if self.clients.get(address) == owner:
                del self.clients[address]

    def addresses_of(self, name: str) -> list[str] | None:
        """Every address of `name`, without doubles; None where nobody brings it."""
        bringers = self.names.get(name)
        if bringers is None:
            return None
        return list(dict.fromkeys(address for addresses in bringers.values() for address in addresses))

    def name_of(self, address: str) -> str | None:
        """`name.network` for PTR, as Docker answers; the bare name where the two together are no DNS name."""
        owner = self.clients.get(address)
        if owner is None or not self.owners[owner].names:
            return None
        name = self.owners[owner].names[0]
        full = f"{name}.{self.network.lower()}"
        return full if is_dns_name(full) else name

    def contains(self, address: Address) -> bool:
        return any(address.version == subnet.version and address in subnet for subnet in self.subnets)


@dataclass(slots=True)
class View:
    """What one client sees: its networks in order, whether and to whom its other questions are forwarded."""

    zones: tuple[Zone, ...]
    forwards: bool
    resolvers: tuple[str, ...]
    cache: dict[bytes, list[bytes]] = field(default_factory=dict)

    def addresses_of(self, name: str) -> list[str] | None:
        """The addresses of `name` or `name.network` in the first network that knows it; None where none does."""
        for zone in self.zones:
            found = zone.addresses_of(name)
            if found is None and name.endswith(f".{zone.network.lower()}"):
                found = zone.addresses_of(name.removesuffix(f".{zone.network.lower()}"))
            if found is not None:
                return found
        return None

    def name_of(self, address: str) -> str | None:
        return next((name for zone in self.zones if (name := zone.name_of(address)) is not None), None)

    def contains(self, address: Address) -> bool:
        return any(zone.contains(address) for zone in self.zones)


class Names:
    """All networks' names, the views made from them, and how many replies those views remember."""

    def __init__(self, shuffle: Callable[[list[str]], None] = random.shuffle) -> None:
        self.zones: dict[str, Zone] = {}
        self.shuffle = shuffle
        self.cached = 0
        self._views: dict[tuple[str, str], View | None] = {}
        self._shared: dict[tuple[tuple[str, ...], bool, tuple[str, ...]], View] = {}

    def forget_views(self) -> None:
        """After any change of the names: answers are made anew."""
        self._views.clear()
        self._shared.clear()
        self.cached = 0

    def view(self, network: str, client: str) -> View | None:
        """What `client` (its address as text) sees when asking at `network`'s gateway; None: not one of its clients."""
        key = (network, client)
        try:
            return self._views[key]
        except KeyError:
            if len(self._views) >= MAX_VIEWS:
                self.forget_views()
            view = self._views[key] = self._make_view(network, client)
            return view

    def own_view(self, owner: str) -> View:
        """What a container sees that asks at a socket in its own network namespace: nothing but its own networks.

        What is forwarded to resolvers of its own leaves by its own links, so that no `internal` network is passed by.
        """
        key = ("", owner)
        view = self._views.get(key)
        if view is None:
            zones = self._attached(owner)
            resolvers = _resolvers(owner, zones)
            forwards = bool(resolvers) or any(not each.internal for each in zones)
            view = self._views[key] = View(zones, forwards, resolvers)
        return view

    def remember(self, view: View, question: bytes, replies: list[bytes]) -> None:
        if self.cached >= MAX_CACHED:
            self.forget_views()
        view.cache[question] = replies
        self.cached += 1

    def _make_view(self, network: str, client: str) -> View | None:
        zone = self.zones.get(network)
        if zone is None or not zone.contains(ip_address(client.partition("%")[0])):
            return None
        owner = zone.clients.get(client)
        others = () if owner is None else self._attached(owner, but=zone)
        zones = (zone, *others)
        forwards = any(not each.internal for each in zones)
        resolvers = _resolvers(owner, zones)
        key = (tuple(each.network for each in zones), forwards, resolvers)
        return self._shared.setdefault(key, View(zones, forwards, resolvers))

    def _attached(self, owner: str, but: Zone | None = None) -> tuple[Zone, ...]:
        return tuple(
            self.zones[name]
            for name in sorted(self.zones)
            if owner in self.zones[name].owners and self.zones[name] is not but
        )


def _resolvers(owner: str | None, zones: Sequence[Zone]) -> tuple[str, ...]:
    if owner is None:
        return ()
    return next((records.resolvers for zone in zones if (records := zone.owners.get(owner)) and records.resolvers), ())
