"""Every network test has a world of its own; none touches the machine's links or firewall."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel.namespaces import CLONE_NEWNET, setns, unshare
from runtime.layout import Layout
from tests.network.world import World, batch, bridge_calls_iptables


@pytest.fixture
def own_namespace() -> Iterator[None]:
    """The test's thread in a network namespace of its own, which stands for the host."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    try:
        batch("link set lo up")
        bridge_calls_iptables(False)
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):  # inherited from the machine
            Path(f"/proc/sys/net/{switch}").write_text("0")
        yield
    finally:
        setns(home, CLONE_NEWNET)
        os.close(home)


@pytest.fixture
def world(own_namespace: None, layout: Layout) -> Iterator[World]:
    made = World(layout)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(params=[False, True], ids=["bridge-alone", "bridge-calls-iptables"])
def any_world(request: pytest.FixtureRequest, world: World) -> World:
    """The world with br_netfilter off, and with its switches on, as Docker leaves them."""
    bridge_calls_iptables(request.param)
    return world
