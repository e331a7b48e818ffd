"""A whole engine on the real kernel, in a network namespace that stands for the host; afterwards nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.layout import Layout
from tests.machine.machine import Machine
from tests.machine.probe import own_host


@pytest.fixture
def own_network() -> Iterator[None]:
    with own_host():
        yield


@pytest.fixture
def machine(own_network: None, layout: Layout, busybox_tree: Path) -> Iterator[Machine]:
    made = Machine(layout, busybox_tree)
    try:
        yield made
    finally:
        made.close()
