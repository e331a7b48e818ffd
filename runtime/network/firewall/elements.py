"""Elements of our sets and maps as values: what an owner should hold against what the kernel holds.

Pure but for nothing: `commands` returns nft text, its caller runs it as one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from runtime.layout import Layout
from runtime.network.firewall.listing import Element, Listing
from runtime.network.records import Address, Protocol
from schemas.errors import Refused

NUMBERS = {Protocol.TCP: "6", Protocol.UDP: "17", Protocol.SCTP: "132"}
"""IANA protocol numbers, as nft prints them."""
PROTOCOLS = {number: protocol for protocol, number in NUMBERS.items()} | {p.value: p for p in Protocol}
_SAFE = re.compile(r"^[\w./:@ -]*$", re.ASCII)
"""What may stand in nft's text: nothing that could end an element."""
_LINK_NAME = re.compile(r"^(?![\d./]+$)[^:]+$")


@dataclass(frozen=True, slots=True)
class Placed:
    """An element and where it is: `family` is `inet` or `bridge`, `name` that of the set or map."""

    name: str
    element: Element
    family: str = "inet"


def placed(name: str, *key: object, comment: str = "", value: tuple[str, ...] = (), family: str = "inet") -> Placed:
    """An element of set or map `name`, from parts of any type that print as nft prints them."""
    return Placed(name, Element(tuple(str(part) for part in key), comment, value), family)


def all_of(listing: Listing, names: Iterable[str], family: str = "inet") -> list[Placed]:
    """All elements of those sets and maps."""
    return [Placed(name, element, family) for name in names for element in listing.of(name)]


def commands(layout: Layout, have: Iterable[Placed], want: Iterable[Placed]) -> list[str]:
    """nft commands that turn `have` into `want`: removals first, since a map holds a key once."""
    held, wanted = frozenset(have), frozenset(want)
    removed = [_command("delete", layout, one) for one in held - wanted]
    return removed + [_command("add", layout, one) for one in wanted - held]


def creations(layout: Layout, want: Iterable[Placed]) -> list[str]:
    """nft commands that add elements, and fail with EEXIST where a key is there already, its comment or not."""
    return [_command("create", layout, one) for one in want]


def versioned(name: str, address: Address) -> str:
    """The one of a pair of sets that is for the address's family: `ports4`, `ports6`."""
    return f"{name}{address.version}"


def address_of(text: str) -> Address:
    """An address as nft prints it."""
    return ip_address(text)


def _command(verb: str, layout: Layout, one: Placed) -> str:
    # a removal names the key alone
    element = Element(one.element.key) if verb == "delete" else one.element
    return f"{verb} element {one.family} {layout.nft_table} {one.name} {{ {_text(element)} }}"


def _text(element: Element) -> str:
    for part in (*element.key, element.comment, *element.value):
        if not _SAFE.match(part):
            raise Refused(f"{part!r} cannot stand in a firewall rule", step="firewall")
    text = " . ".join(f'"{part}"' if _LINK_NAME.match(part) else part for part in element.key)
    if element.comment:
        text += f' comment "{element.comment}"'
    if element.value:
        text += " : " + (" " if element.value[0] == "goto" else " . ").join(element.value)
    return text
