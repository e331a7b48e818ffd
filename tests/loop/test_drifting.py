"""Drift is counted once, however often what is held back is looked at."""

from __future__ import annotations

import pytest

from reconciler.loop.settings import LoopSettings
from runtime.kernel import cgroup
from tests.loop.driving import Driven, driven
from tests.loop.test_health import container
from tests.loop.test_repairs import quiet
from tests.machine.machine import Machine, until

pytestmark = pytest.mark.kernel


def counted(loop: Driven, what: str) -> int:
    return sum(values[what].get("Container", 0) for event, values in loop.told if event == "passed")


def passes(loop: Driven) -> int:
    return sum(event == "passed" for event, _ in loop.told)


def limit(machine: Machine, mebibytes: int) -> None:
    cgroup.write_limits(machine.layout.cgroup("db"), {"memory": {"limit": mebibytes << 20}})


def test_drift_that_is_held_is_counted_once_and_again_when_it_comes_again(machine: Machine) -> None:
    text = machine.image + container("db", mem_limit="64m")
    machine.converge(text)
    with driven(machine.layout, LoopSettings(store_poll=0.05, self_heal="off")) as loop:
        assert counted(loop, "drift") == 0
        limit(machine, 32)
        until(lambda: counted(loop, "drift") == 1)
        for _ in range(3):
            before = passes(loop)
            quiet(loop)
            until(lambda: passes(loop) > before)  # noqa: B023
        assert (counted(loop, "drift"), counted(loop, "repaired")) == (1, 0)
        limit(machine, 64)
        before = passes(loop)
        quiet(loop)
        until(lambda: passes(loop) > before)
        limit(machine, 32)
        until(lambda: counted(loop, "drift") == 2)
        assert counted(loop, "repaired") == 0


def test_drift_that_is_mended_is_counted_and_so_is_its_repair(machine: Machine) -> None:
    text = machine.image + container("db", mem_limit="64m")
    machine.converge(text)
    with driven(machine.layout, LoopSettings(store_poll=0.05)) as loop:
        for number in (1, 2):
            limit(machine, 32)
            until(lambda: counted(loop, "repaired") == number)  # noqa: B023
            loop.settle()
            assert counted(loop, "drift") == number
