"""Rollouts on the real kernel: a few replicas at a time, each watched, taken back where they fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.acting import Acting, act
from reconciler.engine import open_engine
from reconciler.rollouts.looking import read_rollouts
from reconciler.rollouts.state import Progress, Rollout
from runtime.process.records import Phase
from schemas.names import Key, Kind
from tests.machine.machine import Machine
from tests.machine.probe import document, own_machine

pytestmark = pytest.mark.kernel

WEB = Key(Kind.SERVICE, "web")
QUICK = {"parallelism": 2, "monitor": "200ms"}


@pytest.fixture(scope="module")
def shared(busybox_tree: Path) -> Iterator[Machine]:
    with own_machine(busybox_tree) as machine:
        yield machine


def web(machine: Machine, command: str = "", replicas: int = 4, **more: object) -> str:
    update = {**QUICK, **more}
    back = {"parallelism": 2, "monitor": "200ms"}
    deploy = {"replicas": replicas, "update_config": update, "rollback_config": back}
    told = {"command": ["sh", "-c", command or "sleep 2147483647"], "stop_grace_period": "0s"}
    return (
        machine.image
        + document("Service", "web", image="busybox", networks=["front"], deploy=deploy, **told)
        + document("Network", "front")
    )


def apply(machine: Machine, text: str, **more: object) -> int:
    acting = Acting(4, dry_run=False, wait=True, lock_seconds=10, output="text")
    return act(machine.layout, machine.asked(text), acting)


def state(machine: Machine) -> Rollout:
    with open_engine(machine.layout) as engine:
        return read_rollouts(engine.database)[WEB]


def pids(machine: Machine, replicas: int = 4) -> dict[str, int]:
    found = {f"web-{number}": machine.process(f"web-{number}") for number in range(1, replicas + 1)}
    assert all(process.phase is Phase.RUNNING for process in found.values())
    return {name: process.pid for name, process in found.items()}


def test_replicas_are_replaced_a_few_at_a_time(shared: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    assert apply(shared, web(shared)) == 0
    before = pids(shared)
    assert state(shared).progress is Progress.DONE
    capfd.readouterr()
    assert apply(shared, web(shared, "sleep 2147483646")) == 0
    said = capfd.readouterr()
    print(said.out, said.err)
    assert not set(before.values()) & set(pids(shared).values())
    assert state(shared).progress is Progress.DONE


def test_one_that_fails_is_taken_back(shared: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    assert apply(shared, web(shared)) == 0
    before = pids(shared)
    capfd.readouterr()
    assert apply(shared, web(shared, "exit 3", failure_action="rollback")) == 1
    said = capfd.readouterr()
    print(said.out, said.err)
    after = pids(shared)
    assert len(set(before.values()) & set(after.values())) == 2
    assert state(shared).back
