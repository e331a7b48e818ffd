"""A Service as parts of the firewall, and the way back: pure.

Called by `services.py`. `parts_wanted` says what a balance consists of, `parts_of` what a listing holds of each
Service; the two are equal when nothing is missing, added or altered.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from runtime.network.firewall.elements import NUMBERS, PROTOCOLS, Placed, address_of, all_of, placed, versioned
from runtime.network.firewall.listing import Listing
from runtime.network.firewall.publications import owner_comment, owner_of
from runtime.network.records import Address, Backend, ServiceBalance, ServicePort

_SETS = tuple(f"{name}{version}" for name in ("services", "virtual", "near", "mirrors") for version in (4, 6))
_PORTS = ("balanced", "anywhere4", "anywhere6", "balanced4", "balanced6")
"""Where a published port leads to its Service: from everywhere, from one family, from one address of the host."""
_VIRTUAL = ("virtual4", "virtual6")
_FAMILIES = {4: "ip", 6: "ip6"}
_CHAIN = re.compile(r"^service/([^/]+)(?:/\d+/\d+)?$")
_MAP = re.compile(r"^replicas/([^/]+)/([^/]*)/[46]$")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the `inet` table has for one Service. `link` is the bridge with its virtual addresses."""

    elements: frozenset[Placed] = frozenset()
    replicas: frozenset[Placed] = frozenset()
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    maps: frozenset[str] = frozenset()

    @property
    def virtual_addresses(self) -> frozenset[Address]:
        return frozenset(address_of(one.element.key[0]) for one in self.elements if one.name in _VIRTUAL)

    @property
    def link(self) -> str:
        return next((one.element.key[0] for one in self.elements if one.name.startswith("near")), "")


def parts_wanted(balance: ServiceBalance, link: str) -> Parts:
    """What a balance consists of, its rules as nft prints them."""
    chains = {service_chain(balance.service): _rules(balance, "", "")}
    for port in balance.ports:
        match, target = f"meta l4proto {NUMBERS[port.protocol]} ", f":{port.container_port}"
        chains[_port_chain(balance.service, port)] = _rules(balance, match, target)
    return Parts(
        frozenset(_elements(balance, link)),
        frozenset(_replicas(balance)),
        chains,
        frozenset(replicas_map(balance, version) for version in _FAMILIES),
    )


def parts_of(inet: Listing) -> dict[str, Parts]:
    """What the table holds, by Service's name."""
    elements, replicas, maps = defaultdict(set), defaultdict(set), defaultdict(set)
    chains: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for one in all_of(inet, (*_SETS, *_PORTS)):
        elements[one.element.comment].add(one)
    for name in inet.elements:
        if match := _MAP.match(name):
            maps[match[1]].add(name)
            replicas[match[1]].update(all_of(inet, (name,)))
    for name, rules in inet.chains.items():
        if match := _CHAIN.match(name):
            chains[match[1]][name] = _normal(rules)
    return {
        service: Parts(
            frozenset(elements[service]), frozenset(replicas[service]), chains[service], frozenset(maps[service])
        )
        for service in {*elements, *maps, *chains} - {""}
    }


def balance_of(service: str, parts: Parts) -> ServiceBalance | None:
    """The balance that the parts make up; None when any is missing, altered, or one too many."""
    try:
        balance = ServiceBalance(
            service=service,
            network=next(iter(parts.maps)).split("/")[2],
            virtual_addresses=parts.virtual_addresses,
            backends=frozenset(_backend(one) for one in parts.replicas),
            ports=frozenset(_port(one) for one in parts.elements if one.name in _PORTS),
        )
    except (ValueError, LookupError, StopIteration):
        return None  # somebody else's hand: not as we wrote it
    return balance if parts == parts_wanted(balance, parts.link) else None


def service_chain(service: str) -> str:
    """The chain that balances a Service's virtual addresses."""
    return f"service/{service}"


def replicas_map(balance: ServiceBalance, version: int) -> str:
    """The map from turn to replica; its name tells the network too."""
    return f"replicas/{balance.service}/{balance.network}/{version}"


def _elements(balance: ServiceBalance, link: str) -> Iterable[Placed]:
    service = balance.service
    for address in balance.virtual_addresses:
        yield placed(versioned("services", address), address, comment=service, value=("goto", service_chain(service)))
        yield placed(versioned("virtual", address), address, comment=service)
        yield placed(versioned("near", address), link, address, comment=service)
    for one in balance.backends:
        yield placed(versioned("mirrors", one.address), one.address, one.address, comment=service)
    for port in balance.ports:
        yield _port_element(service, port)


def _port_element(service: str, port: ServicePort) -> Placed:
    key, verdict = (NUMBERS[port.protocol], port.host_port), ("goto", _port_chain(service, port))
    address = port.host_address
    if address is None:
        return placed("balanced", *key, comment=service, value=verdict)
    if address.is_unspecified:
        return placed(versioned("anywhere", address), *key, comment=service, value=verdict)
    return placed(versioned("balanced", address), address, *key, comment=service, value=verdict)


def _replicas(balance: ServiceBalance) -> Iterable[Placed]:
    for version in _FAMILIES:
        mine = sorted(one for one in balance.backends if one.address.version == version)
        for turn, one in enumerate(mine):
            comment = owner_comment(one.container, one.incarnation)
            yield placed(replicas_map(balance, version), turn, comment=comment, value=(str(one.address),))


def _rules(balance: ServiceBalance, match: str, target: str) -> tuple[str, ...]:
    counts = {version: sum(one.address.version == version for one in balance.backends) for version in _FAMILIES}
    return tuple(
        f"{match}dnat {_FAMILIES[version]} to numgen inc mod {count} map @{replicas_map(balance, version)}{target}"
        for version, count in counts.items()
        if count
    )


def _normal(rules: Iterable[str]) -> tuple[str, ...]:
    """Rules without the liberties that versions of nft take when they print one."""
    return tuple(re.sub(r" offset 0\b", "", re.sub(r"\s*:\s*", ":", rule)) for rule in rules)


def _backend(one: Placed) -> Backend:
    comment = one.element.comment
    return Backend(owner_of(comment), address_of(one.element.value[0]), comment.partition(" ")[2])


def _port(one: Placed) -> ServicePort:
    *host, protocol, port = one.element.key
    unspecified = {"anywhere4": "0.0.0.0", "anywhere6": "::"}.get(one.name)
    address = host[0] if host else unspecified
    inside = int(one.element.value[1].rpartition("/")[2])
    return ServicePort(PROTOCOLS[protocol], int(port), inside, address_of(address) if address else None)


def _port_chain(service: str, port: ServicePort) -> str:
    return f"service/{service}/{NUMBERS[port.protocol]}/{port.container_port}"
