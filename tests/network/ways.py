"""Families and transports as parameters of a test, one of which has a mark that the others have not.

The mark is `vm`: the virtual machine's short selection takes one of them, since the others differ by no kernel feature.
"""

from __future__ import annotations

import pytest

from runtime.network.records import Protocol

IDS = {4: "ipv4", 6: "ipv6"}


def every_way(version: int, protocol: Protocol, mark: pytest.MarkDecorator) -> pytest.MarkDecorator:
    """`version` and `protocol`, all four; the way named has the mark."""
    ways = [(each, by) for each in IDS for by in (Protocol.TCP, Protocol.UDP)]
    marks = {(version, protocol): [mark]}
    params = [pytest.param(*way, marks=marks.get(way, []), id=f"{IDS[way[0]]}-{way[1].value}") for way in ways]
    return pytest.mark.parametrize(("version", "protocol"), params)


def both_families(version: int, mark: pytest.MarkDecorator) -> pytest.MarkDecorator:
    """`version`, both; the one named has the mark."""
    params = [pytest.param(each, marks=[mark] if each == version else [], id=name) for each, name in IDS.items()]
    return pytest.mark.parametrize("version", params)
