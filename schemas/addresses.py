"""Addresses, ports and names of the network, as a manifest spells them.

Canonical text: addresses as RFC 5952 writes them, MAC addresses in lower case with colons, subnets without host bits.
Whether an address lies in its network's subnet is `check`'s business; which is free, the planner's.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainSerializer

from schemas.faults import collect
from schemas.plain_types import TEXT, list_of, read_list, read_text, read_whole, words
from schemas.spelling import INTO_BAG, SORTED, Spelling, pattern

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAC = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
HOSTNAME_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
MAC_PATTERN = r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}"
LONGEST_HOSTNAME = 64
"""HOST_NAME_MAX of sethostname(2)."""


def read_ip(value: Any) -> str:
    """An IPv4 or IPv6 address, also in square brackets. Raises ValueError."""
    text = read_text(value).strip()
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(inner)
    except ValueError:
        raise ValueError(f"{text!r} is no address; write one as in 10.0.0.5 or fd00::5") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError(f"{text!r} names an interface; leave out %{address.scope_id}")
    return str(address)


def read_ipv4(value: Any) -> str:
    """Raises ValueError with the remedy."""
    return _of_version(read_ip(value), 4, "10.0.0.5")


def read_ipv6(value: Any) -> str:
    """Raises ValueError with the remedy."""
    return _of_version(read_ip(value), 6, "fd00::5")


def _of_version(address: str, version: int, example: str) -> str:
    if ipaddress.ip_address(address).version != version:
        raise ValueError(f"{address!r} is no IPv{version} address; write one as in {example}")
    return address


def read_subnet(value: Any) -> str:
    """A subnet in CIDR notation, without host bits. Raises ValueError naming the subnet meant."""
    text = read_text(value).strip()
    try:
        loose = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no subnet; write one as in 10.5.0.0/24 or fd00:5::/64") from None
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length; write {text}/24 or the length meant")
    if ipaddress.ip_address(text.partition("/")[0]) != loose.network_address:
        raise ValueError(f"{text!r} has bits set beyond its prefix; write {loose}")
    return str(loose)


def read_mac(value: Any) -> str:
    """A unicast MAC address. Raises ValueError."""
    text = read_text(value).strip().lower()
    if not _MAC.fullmatch(text):
        raise ValueError(f"{text!r} is no MAC address; write one as in 02:42:ac:11:65:43")
    if int(text[:2], 16) & 1:
        raise ValueError(f"{text!r} is a multicast address; write one whose first byte is even, as in 02:…")
    if set(text) <= set("0:-"):
        raise ValueError(f"{text!r} is all zeros; write one as in 02:42:ac:11:65:43")
    return text.replace("-", ":")


def read_hostname(value: Any) -> str:
    """A host name of RFC 1123, at most 64 characters. Raises ValueError."""
    text = read_text(value).strip().rstrip(".")
    if len(text) > LONGEST_HOSTNAME or not re.fullmatch(HOSTNAME_PATTERN, text):
        raise ValueError(f"{text!r} is no host name; write letters, digits and inner dashes, at most 64, as in web-1")
    return text


def read_dns_name(value: Any) -> str:
    """A name for DNS or /etc/hosts: labels of letters, digits, dashes and, as people use them, underscores."""
    text = read_text(value).strip().rstrip(".").lower()
    if not text or len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise ValueError(f"{text!r} is no name for DNS; write labels joined by dots, as in db.example.com")
    return text


def read_search_domain(value: Any) -> str:
    """A search domain; `.` alone means none (resolv.conf(5))."""
    return "." if read_text(value).strip() == "." else read_dns_name(value)


def read_extra_hosts(value: Any) -> dict[str, tuple[str, ...]]:
    """`["db=10.0.0.5"]`, `["db:10.0.0.5"]` or a map, to addresses by name; `host-gateway` stands for the host."""
    if isinstance(value, dict):
        pairs = [(name, address) for name, many in value.items() for address in _several(many)]
    else:
        pairs = collect("extra_hosts", _several(value), _host_pair)
    found: dict[str, list[str]] = {}
    for name, address in pairs:
        addresses = found.setdefault(read_dns_name(name), [])
        text = "host-gateway" if address == "host-gateway" else read_ip(address)
        if text not in addresses:
            addresses.append(text)
    return {name: tuple(addresses) for name, addresses in found.items()}


def _several(value: Any) -> list[Any]:
    items = read_list(value)
    if not isinstance(items, list | tuple):
        raise ValueError(f"{value!r} is no list; write - NAME=ADDRESS lines")
    return list(items)


def _host_pair(item: Any) -> tuple[str, str]:
    text = read_text(item)
    name, found, address = text.partition("=") if "=" in text else text.partition(":")
    if not found:
        raise ValueError(f"{text!r} has no address; write NAME=ADDRESS, as in db=10.0.0.5")
    return name, address.strip()


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Ports from first to last, both included; often one. Written `80` or `8000-8010`."""

    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    @property
    def ports(self) -> range:
        return range(self.first, self.last + 1)

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def written(self) -> int | str:
        """As a manifest would have it: a number, or text for a range."""
        return self.first if self.first == self.last else str(self)


def read_port_range(value: Any) -> PortRange:
    """`80`, `"80"` or `"8000-8010"`. Raises ValueError."""
    if isinstance(value, PortRange):
        return value
    first, dash, last = read_text(value).strip().partition("-")
    lowest = read_port(first)
    highest = read_port(last) if dash else lowest
    if lowest > highest:
        raise ValueError(f"the range {value!r} runs backwards; write {highest}-{lowest}")
    return PortRange(lowest, highest)


def read_port(value: Any) -> int:
    """1 to 65535. Raises ValueError with the remedy."""
    try:
        return read_whole(value, 1, 65535)
    except ValueError:
        raise ValueError(f"{value!r} is no port; write a number from 1 to 65535") from None


ADDRESS = {"type": "string", "pattern": r"^[0-9A-Fa-f:.\[\]]+$|\$[{A-Za-z_]"}
PORT = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, pattern("[0-9]{1,5}")]}
PORT_RANGE = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, pattern("[0-9]{1,5}(-[0-9]{1,5})?")]}
EXTRA_HOSTS = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": ["string", "array"], "items": {"type": "string"}}},
        list_of(pattern("[^=:]+[=:].+"), single=True),
    ]
}

Ip = Annotated[str, Spelling(read_ip, "address", ADDRESS, final=True)]
Ipv4 = Annotated[str, Spelling(read_ipv4, "IPv4 address", pattern(r"[0-9.]+"), final=True)]
Ipv6 = Annotated[str, Spelling(read_ipv6, "IPv6 address", pattern(r"\[?[0-9A-Fa-f:.]+\]?"), final=True)]
Subnet = Annotated[str, Spelling(read_subnet, "subnet", pattern(r"[0-9A-Fa-f:.]+/[0-9]{1,3}"), final=True)]
Mac = Annotated[str, Spelling(read_mac, "MAC address", pattern(MAC_PATTERN), final=True)]
Port = Annotated[int, Spelling(read_port, "port", PORT, final=True)]
Ports = Annotated[
    PortRange,
    Spelling(read_port_range, "port or range of ports", PORT_RANGE, final=True),
    PlainSerializer(PortRange.written),
]
Hostname = Annotated[str, Spelling(read_hostname, "host name", pattern(HOSTNAME_PATTERN), final=True)]
DnsNames = Annotated[tuple[str, ...], words(read_dns_name, "list of name", TEXT), INTO_BAG, SORTED]
Ips = Annotated[tuple[str, ...], words(read_ip, "list of address", ADDRESS, single=True)]
SearchDomains = Annotated[tuple[str, ...], words(read_search_domain, "list of name", TEXT, single=True)]
ExtraHosts = Annotated[
    dict[str, tuple[str, ...]], Spelling(read_extra_hosts, "map of list of address", EXTRA_HOSTS, final=True)
]
