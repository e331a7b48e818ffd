"""The loop carries a rollout on, whoever began it, and takes back what fails."""

from __future__ import annotations

import pytest

from reconciler.rollouts.state import Progress
from reconciler.status import Health
from runtime.process.records import Phase
from schemas.names import Key, Kind
from tests.loop.driving import driven
from tests.loop.test_steering import QUICK, status
from tests.machine.machine import Machine, until
from tests.machine.test_rollouts import apply, pids, state, web

pytestmark = pytest.mark.kernel

WEB = Key(Kind.SERVICE, "web")


def test_the_loop_carries_on_what_an_apply_began(machine: Machine) -> None:
    machine.converge(web(machine))
    before = pids(machine)
    machine.apply(web(machine, "sleep 2147483646"))
    assert len(set(before.values()) & set(pids(machine).values())) == 2
    with driven(machine.layout, QUICK):
        until(lambda: state(machine).progress is Progress.DONE)
        assert not set(before.values()) & set(pids(machine).values())
        until(lambda: status(machine, WEB).health is Health.HEALTHY)


def test_the_loop_takes_back_what_fails_and_says_so(machine: Machine) -> None:
    machine.converge(web(machine))
    before = pids(machine)
    with driven(machine.layout, QUICK) as loop:
        assert apply(machine, web(machine, "exit 3", failure_action="rollback"), wait=False) == 0
        until(lambda: (found := state(machine)).back and found.progress is Progress.DONE)
        assert len(set(before.values()) & set(pids(machine).values())) == 2
        until(lambda: status(machine, WEB).condition("Stalled").reason == "RolledBack")
        found = status(machine, WEB)
        assert found.health is Health.DEGRADED and "exit code 3" in found.condition("Ready").message
        loop.settle()
        told = loop.actions()
        loop.settle()
        assert loop.actions() == told


def test_the_loop_takes_away_those_that_ran_beside_the_others(machine: Machine) -> None:
    machine.converge(web(machine, replicas=2))
    before = pids(machine, 2)
    changed = web(machine, "sleep 2147483646", replicas=2, order="start-first", parallelism=1)
    machine.apply(changed)
    assert pids(machine, 2) == before and machine.process("web-3").phase is Phase.RUNNING
    with driven(machine.layout, QUICK):
        until(lambda: state(machine).progress is Progress.DONE and "web-3" not in machine.containers())
        assert not set(before.values()) & set(pids(machine, 2).values())
    assert machine.diff(changed).empty
