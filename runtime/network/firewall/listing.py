"""What `nft list table` prints, as records: sets and maps with their elements, chains with their rules.

Pure. Tolerates what others put into our tables. The text is read, not the JSON, since libnftables 1.0.6 crashes when
it prints a translation through a map with concatenated data as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.network.firewall.text import blocks, elements, rules


@dataclass(frozen=True, slots=True)
class Element:
    """One element: the parts of its key, its comment, and in a map the parts of its value."""

    key: tuple[str, ...]
    comment: str = ""
    value: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """One table. `chains` hold the lines as nft prints them, the hook's first."""

    elements: dict[str, tuple[Element, ...]] = field(default_factory=dict)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, name: str) -> tuple[Element, ...]:
        """The elements of set or map `name`; none when there is no such set."""
        return self.elements.get(name, ())


def parse_listing(text: str) -> Listing:
    """Read the text of one table."""
    listing = Listing()
    for kind, name, lines in blocks(text):
        if kind == "chain":
            listing.chains[name] = rules(lines)
        else:
            listing.elements[name] = tuple(Element(*parts) for parts in elements(lines))
    return listing
