"""A whole engine on the real kernel, in a network namespace that stands for the host; afterwards nothing is left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel.namespaces import CLONE_NEWNET, setns, unshare
from runtime.layout import Layout
from tests.machine.machine import Machine


@pytest.fixture
def own_network() -> Iterator[None]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        setns(home, CLONE_NEWNET)
        os.close(home)


@pytest.fixture
def machine(own_network: None, layout: Layout, busybox_tree: Path) -> Iterator[Machine]:
    made = Machine(layout, busybox_tree)
    try:
        yield made
    finally:
        made.close()
