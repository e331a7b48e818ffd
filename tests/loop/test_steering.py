"""Suspend, resume, reconcile, wait: beside the loop, and without it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from reconciler.cli.awaiting import wait
from reconciler.cli.getting import look_at
from reconciler.cli.selection import Selection
from reconciler.cli.standings import statuses
from reconciler.cli.steering import reconcile, resume, suspend
from reconciler.engine import open_engine
from reconciler.loop.settings import LoopSettings
from reconciler.status import Health, Status, Sync
from runtime.kernel import cgroup
from runtime.process import client
from schemas.errors import Missing, Refused
from schemas.names import Key, Kind
from tests.loop.driving import Driven, driven
from tests.loop.test_health import CHECK, container, is_running
from tests.machine.machine import Machine, until

pytestmark = pytest.mark.kernel

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DB = Key(Kind.CONTAINER, "db")
QUICK = LoopSettings(store_poll=0.05)


def status(machine: Machine, key: Key = DB) -> Status:
    with open_engine(machine.layout) as engine:
        return statuses(engine, [key])[key]


def shown(machine: Machine, key: Key = DB) -> tuple[Health, str]:
    """What `get` tells; its health must be that of `describe` and `wait`."""
    with open_engine(machine.layout) as engine:
        (row,) = look_at(engine, Selection(keys=(key,)))
        assert row.standing.health is row.status.health, row
    return row.standing.health, f"{row.standing.status}; {row.standing.next}"


def kill(machine: Machine, name: str) -> None:
    os.kill(machine.process(name).pid, signal.SIGKILL)
    client.wait(machine.layout, name, 10)


def is_known(loop: Driven, word: str) -> bool:
    """Whether the loop has read that somebody said so of the container."""
    return loop.loop is not None and bool(loop.loop.wanted.steering.get(str(DB), {}).get(word))


def limit(machine: Machine) -> int:
    found = cgroup.read_limits(machine.layout.cgroup("db"))["memory"]["limit"]
    assert isinstance(found, int)
    return found


def test_a_suspended_container_is_left_alone_until_it_is_resumed(machine: Machine) -> None:
    machine.converge(machine.image + container("db", restart="always"))
    with driven(machine.layout, QUICK) as loop:
        suspend(machine.layout, ["container/db"])
        until(lambda: is_known(loop, "suspended"))
        loop.settle()
        kill(machine, "db")
        until(lambda: status(machine).health is Health.SUSPENDED)
        assert not is_running(machine, "db") and loop.actions() == []
        assert status(machine).condition("Stalled").reason == "Suspended"
        health, words = shown(machine)
        assert health is Health.SUSPENDED
        assert words.startswith("exited 137") and words.endswith("; left alone: suspended")
        resume(machine.layout, ["container/db"])
        until(lambda: is_running(machine, "db"))
        until(lambda: status(machine).health is Health.HEALTHY)
    suspend(machine.layout, ["set/shop"])
    # nobody watches, and it is known all the same
    assert shown(machine)[0] is status(machine).health is Health.SUSPENDED
    resume(machine.layout, ["set/shop"])
    assert shown(machine)[0] is status(machine).health is Health.HEALTHY


def test_what_failed_is_told_by_all_until_somebody_mends_it(machine: Machine) -> None:
    text = machine.image + container("db", command=["/none-of-ours"])
    machine.apply(text)
    with driven(machine.layout, QUICK):
        until(lambda: status(machine).condition("Ready").reason in ("Failed", "Refused"))
        health, words = shown(machine)
        assert health in (Health.DEGRADED, Health.MISSING) and "/none-of-ours" in words
        found = status(machine)
        assert (found.generation, found.observed_generation) == (1, 1)
    # nobody watches: a newer manifest was not looked at, until somebody acts
    machine.apply(machine.image + container("db", command=["/none-of-ours"], labels={"a": "b"}))
    found = status(machine)
    assert (found.generation, found.observed_generation) == (2, 1)
    machine.converge(machine.image + container("db"))
    assert shown(machine)[0] is status(machine).health is Health.HEALTHY
    assert (status(machine).generation, status(machine).observed_generation) == (3, 3)


def test_reconcile_starts_what_its_policy_does_not(machine: Machine) -> None:
    machine.converge(machine.image + container("db"))
    with driven(machine.layout, QUICK) as loop:
        kill(machine, "db")
        until(lambda: status(machine).health is Health.DEGRADED)
        loop.settle()
        assert loop.actions() == []
        assert reconcile(machine.layout, ["container/db"], 10) == 0
        assert is_running(machine, "db")


@pytest.mark.parametrize("annotations", [{"trimtab/self-heal": "off"}, {"trimtab/reconcile": "disabled"}])
def test_drift_of_what_does_not_heal_itself_is_told_and_left(machine: Machine, annotations: dict[str, str]) -> None:
    text = container("db", mem_limit="64m").replace(
        '"name": "db"', f'"name": "db", "annotations": {dumps(annotations)}'
    )
    machine.converge(machine.image + text)
    with driven(machine.layout, QUICK) as loop:
        cgroup.write_limits(machine.layout.cgroup("db"), {"memory": {"limit": 32 << 20}})
        until(lambda: status(machine).sync is Sync.OUT_OF_SYNC)
        loop.settle()
        assert limit(machine) == 32 << 20 and loop.actions() == []
        assert reconcile(machine.layout, ["container/db"], 10) == 0
        assert limit(machine) == 64 << 20


def dumps(value: object) -> str:
    import json

    return json.dumps(value)


def test_wait_ends_when_health_is_there(machine: Machine) -> None:
    machine.converge(machine.image + container("db", healthcheck=CHECK))
    with driven(machine.layout, QUICK):
        until(lambda: status(machine).condition("Healthy").status == "False")
        assert wait(machine.layout, ["container/db"], "condition=Ready", 0.3) == 1
        found: list[int] = []
        waiting = threading.Thread(
            target=lambda: found.append(wait(machine.layout, ["container/db"], "health=Healthy", 20))
        )
        waiting.start()
        machine.inside("db", "touch", "/well")
        waiting.join(20)
        assert found == [0]
        assert wait(machine.layout, ["set/shop"], "sync=Synced", 10) == 0


def test_wait_without_a_loop_sees_what_there_is(machine: Machine) -> None:
    machine.converge(machine.image + container("db"))
    assert wait(machine.layout, ["container/db", "set/shop"], "condition=Ready", 5) == 0
    assert wait(machine.layout, ["container/none"], "delete", 1) == 0
    kill(machine, "db")
    assert wait(machine.layout, ["container/db"], "condition=Ready", 0.2) == 1
    with pytest.raises(Refused, match="is no wish"):
        wait(machine.layout, ["container/db"], "condition=Fine", 1)
    with pytest.raises(Missing):
        suspend(machine.layout, ["set/nothing"])


def test_status_tells_that_a_policy_waits_and_that_it_has_given_up(machine: Machine) -> None:
    policy = {"restart": "on-failure:1", "restart_policy": {"delay": "300ms"}}
    machine.apply(machine.image + container("db", command=["sh", "-c", "sleep 0.1; exit 3"], **policy))
    with driven(machine.layout, QUICK) as loop:
        until(lambda: status(machine).condition("Stalled").reason == "GivenUp")
        loop.settle()
        assert len(loop.actions()) == 1
        found = status(machine)
        assert found.health is Health.DEGRADED
        assert found.condition("Ready").message == "gave up after 1 restarts in a row"
        assert shown(machine)[0] is Health.DEGRADED and "gave up after 1 restarts" in shown(machine)[1]
    with driven(machine.layout, QUICK) as again:
        assert again.actions() == []


def source_of(machine: Machine, **fields: str) -> None:
    """A Source object that feeds the machine's set, applied by hand."""
    spec = {"directory": "/nowhere", "set": "shop", **fields}
    text = f'{{"apiVersion": "trimtab/v1", "kind": "Source", "metadata": {{"name": "src"}}, "spec": {dumps(spec)}}}'
    machine.converge(text, set_name="boot")


def test_a_source_says_whether_drift_of_its_set_is_repaired(machine: Machine) -> None:
    machine.converge(machine.image + container("db", mem_limit="64m"))
    source_of(machine, self_heal="off")
    with driven(machine.layout, QUICK) as loop:
        cgroup.write_limits(machine.layout.cgroup("db"), {"memory": {"limit": 32 << 20}})
        until(lambda: status(machine).condition("Reconciling").message == "self_heal is off")
        loop.settle()
        assert status(machine).sync is Sync.OUT_OF_SYNC
        assert limit(machine) == 32 << 20 and loop.actions() == []
        source_of(machine, self_heal="on")
        until(lambda: limit(machine) == 64 << 20)


def test_drift_of_a_set_waits_for_the_maintenance_window_of_its_source(machine: Machine) -> None:
    machine.converge(machine.image + container("db", mem_limit="64m"))
    tomorrow = time.localtime(time.time() + 2 * 24 * 3600)
    source_of(machine, self_heal="window", window=f"{DAYS[tomorrow.tm_wday]} 00:00-23:59")
    with driven(machine.layout, QUICK) as loop:
        cgroup.write_limits(machine.layout.cgroup("db"), {"memory": {"limit": 32 << 20}})
        until(lambda: "waits for the window" in status(machine).condition("Reconciling").message)
        loop.settle()
        assert limit(machine) == 32 << 20 and loop.actions() == []
        source_of(machine, self_heal="window", window="00:00-23:59, 23:00-01:00")
        until(lambda: limit(machine) == 64 << 20)
