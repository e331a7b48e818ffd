"""Reads what `nft list table` prints: sets and maps with their elements, chains with their rules.

Pure. Tolerates what others put into our tables. The text is read, not the JSON, since libnftables 1.0.6 crashes when
it prints a translation through a map with concatenated data as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_ELEMENT = re.compile(
    r'\s*((?:"[^"]*"|[^",}])+?)(?: comment "((?:[^"\\]|\\.)*)")?(?: : ([^,}"]+?))?\s*([,}])'  # key, comment, value, end
)
_BLOCK = re.compile(r"^\t(set|map|chain) (\S+) \{(?: # handle \d+)?$")


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
    for kind, name, lines in _blocks(text):
        if kind == "chain":
            listing.chains[name] = tuple(line.strip() for line in lines if line.strip())
        else:
            listing.elements[name] = tuple(_elements("\n".join(lines)))
    return listing


def _blocks(text: str) -> Iterator[tuple[str, str, list[str]]]:
    head: tuple[str, str] | None = None
    lines: list[str] = []
    for line in text.splitlines():
        opening = _BLOCK.match(line)
        if opening:
            head, lines = (opening[1], opening[2]), []
        elif line == "\t}" and head is not None:
            yield *head, lines
            head = None
        else:
            lines.append(line)


def _elements(text: str) -> Iterator[Element]:
    _, found, body = text.partition("elements = {")
    if not found:
        return
    for key, comment, value, end in _ELEMENT.findall(body):
        yield Element(
            # the first word of each part: behind it may stand a timeout or counter of somebody else's
            tuple(part.split(None, 1)[0].strip('"') for part in key.split(" . ")),
            comment,
            tuple(value.replace(" . ", " ").split()),
        )
        if end == "}":
            return
