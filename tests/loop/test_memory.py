"""A process that the kernel kills for want of memory is told of, also where its container goes on or ends well."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from reconciler.cli.details import details
from reconciler.cli.seen import look, read_known
from reconciler.engine import open_engine
from reconciler.loop.settings import LoopSettings
from runtime.kernel import cgroup
from runtime.process import client
from schemas.names import Key, Kind
from tests.conftest import SLOWER
from tests.loop.driving import driven
from tests.loop.test_health import container
from tests.machine.machine import Machine, until

pytestmark = pytest.mark.kernel

QUICK = LoopSettings(store_poll=0.05)
LIMITS = {"mem_limit": "16m", "memswap_limit": "16m"}
HOG = "while [ ! -e /go ]; do sleep 0.05; done; rm /go; tail /dev/zero"


def hogs(machine: Machine) -> list[str]:
    with closing(sqlite3.connect(machine.layout.store)) as store:
        rows = store.execute("SELECT message FROM events WHERE reason = 'OutOfMemory' ORDER BY id").fetchall()
    return [message for (message,) in rows]


def usage(machine: Machine, name: str) -> dict[str, Any]:
    with open_engine(machine.layout) as engine:
        seen = look(engine, read_known(engine), [Key(Kind.CONTAINER, name)])[0]
        found: dict[str, Any] = details(machine.layout, seen)["usage"]
        return found


def test_a_killed_child_is_an_event_and_counted_while_its_container_goes_on(machine: Machine) -> None:
    text = machine.image + container("app", command=["sh", "-c", f"while true; do {HOG}; done"], **LIMITS)
    machine.converge(text)
    pid = machine.process("app").pid
    with driven(machine.layout, QUICK):
        for count in (1, 2):
            machine.inside("app", "touch", "/go")
            until(lambda count=count: len(hogs(machine)) == count)  # type: ignore[misc]
    assert hogs(machine) == ["one of its processes was killed for want of memory"] * 2
    assert cgroup.oom_kills(machine.layout.cgroup("app")) == 2
    assert usage(machine, "app")["oom_kills"] == 2
    assert machine.process("app").pid == pid
    assert machine.diff(text).empty


def test_what_was_killed_before_the_loop_began_is_not_told_again(machine: Machine) -> None:
    machine.converge(machine.image + container("app", command=["sh", "-c", f"{HOG}; sleep 1000"], **LIMITS))
    machine.inside("app", "touch", "/go")
    until(lambda: cgroup.oom_kills(machine.layout.cgroup("app")) == 1)
    with driven(machine.layout, QUICK) as loop:
        loop.settle(20 * SLOWER)
    assert hogs(machine) == []


def test_who_ends_well_in_spite_of_a_killed_child_has_completed(machine: Machine) -> None:
    machine.apply(machine.image + container("job", command=["sh", "-c", "tail /dev/zero; exit 0"], **LIMITS))
    ended = client.wait(machine.layout, "job", 30 * SLOWER)
    assert (ended.exit_code, ended.signal, ended.oom_killed) == (0, None, True)
    with open_engine(machine.layout) as engine:
        seen = look(engine, read_known(engine), [Key(Kind.CONTAINER, "job")])[0]
    assert seen.facts["process"] == "completed"
