"""Rollouts on the real kernel: a few replicas at a time, each watched, taken back where they fail."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from reconciler.cli.acting import Acting, act
from reconciler.cli.steering import reconcile
from reconciler.engine import open_engine
from reconciler.rollouts.looking import read_rollouts
from reconciler.rollouts.state import Progress, Rollout
from reconciler.store.events import read_events
from runtime.layout import Layout
from runtime.process.client import read_process
from runtime.process.records import Phase
from schemas.names import Key, Kind
from tests.machine.machine import Machine, told, until
from tests.machine.probe import document, own_machine

pytestmark = pytest.mark.kernel

WEB = Key(Kind.SERVICE, "web")
PORT = 18191
OF_REPLICAS = ("healthcheck", "ports", "secrets")
QUICK = {"parallelism": 2, "monitor": "200ms"}


@pytest.fixture(scope="module")
def shared(busybox_tree: Path) -> Iterator[Machine]:
    with own_machine(busybox_tree) as machine:
        yield machine


def web(machine: Machine, command: str = "", replicas: int = 4, **more: Any) -> str:
    of_replicas: dict[str, object] = {name: more.pop(name) for name in OF_REPLICAS if name in more}
    update = {**QUICK, **more}
    back = {"parallelism": 2, "monitor": "200ms"}
    deploy = {"replicas": replicas, "update_config": update, "rollback_config": back}
    told = {"command": ["sh", "-c", command or "sleep 2147483647"], "stop_grace_period": "0s", **of_replicas}
    return (
        machine.image
        + document("Service", "web", image="busybox", networks=["front"], deploy=deploy, **told)
        + document("Network", "front")
    )


def apply(machine: Machine, text: str, *, wait: bool = True) -> int:
    acting = Acting(4, dry_run=False, wait=wait, lock_seconds=10, output="text")
    return act(machine.layout, machine.asked(text), acting)


def begun(machine: Machine) -> dict[str, int]:
    """All as in `web`, whatever they were: at once, and watched no longer than that."""
    assert apply(machine, web(machine, parallelism=0, monitor="0s")) == 0
    assert state(machine).progress is Progress.DONE
    return pids(machine)


def state(machine: Machine) -> Rollout:
    return rollout(machine.layout)


def rollout(layout: Layout) -> Rollout:
    with open_engine(layout) as engine:
        return read_rollouts(engine.database)[WEB]


def is_another(machine: Machine, name: str, before: dict[str, int]) -> bool:
    """Whether it runs again, as another process."""
    process = read_process(machine.layout, name)
    return process is not None and process.phase is Phase.RUNNING and process.pid != before[name]


def pids(machine: Machine, replicas: int = 4) -> dict[str, int]:
    found = {f"web-{number}": machine.process(f"web-{number}") for number in range(1, replicas + 1)}
    assert all(process.phase is Phase.RUNNING for process in found.values())
    return {name: process.pid for name, process in found.items()}


def moves(said: str) -> list[list[str]]:
    """Replicas replaced, pass by pass: a pass ends with its Service."""
    groups: list[list[str]] = [[]]
    for line in said.splitlines():
        if line.startswith("± Container/"):
            groups[-1].append(line.split()[1].removeprefix("Container/"))
        elif line.startswith("~ Service/web") and groups[-1]:
            groups.append([])
    return [sorted(group) for group in groups if group]


def test_replicas_are_replaced_a_few_at_a_time(shared: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    before = begun(shared)
    assert state(shared).progress is Progress.DONE
    capfd.readouterr()
    changed = web(shared, "sleep 2147483646")
    plan = shared.diff(changed)
    assert [key.name for key in plan.later] == ["web-3", "web-4"]
    assert apply(shared, changed) == 0
    said = capfd.readouterr()
    assert moves(said.out) == [["web-1", "web-2"], ["web-3", "web-4"]]
    assert "2 of 4 now (web-1, web-2), the other 2 after them, once well for 0.2 s" in said.err
    assert not set(before.values()) & set(pids(shared).values())
    assert state(shared).progress is Progress.DONE and shared.diff(changed).empty


def test_one_that_fails_is_taken_back_and_not_tried_again(shared: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    before = begun(shared)
    failing = web(shared, "exit 3", failure_action="rollback")
    assert apply(shared, failing) == 1
    said = capfd.readouterr()
    assert "! Service/web rolled back: Container/web-1: exit code 3" in said.err
    after = pids(shared)
    assert [name for name in before if before[name] == after[name]] == ["web-3", "web-4"]
    assert state(shared).back and state(shared).progress is Progress.DONE
    with open_engine(shared.layout) as engine:
        events = read_events(engine.database, "Service/web", last=20)
    assert state(shared).stalled in {each.message for each in events if each.reason == "RolledBack"}
    assert apply(shared, failing) == 1
    assert "tries again" in capfd.readouterr().err and pids(shared) == after
    assert told(shared.diff(failing)) == []
    # other manifests are tried
    assert apply(shared, web(shared, "sleep 2147483645", failure_action="rollback")) == 0
    assert not set(after.values()) & set(pids(shared).values()) and not state(shared).back


def test_an_apply_goes_on_where_one_was_killed(shared: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    begun(shared)
    shared.apply(web(shared, "sleep 2147483643"))  # one pass of it
    first = pids(shared)
    capfd.readouterr()
    assert apply(shared, web(shared, "sleep 2147483643")) == 0
    assert moves(capfd.readouterr().out) == [["web-3", "web-4"]]
    assert [name for name, pid in pids(shared).items() if pid == first[name]] == ["web-1", "web-2"]


def test_another_content_of_a_secret_comes_to_all_in_turns(shared: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    def text(content: str, **more: Any) -> str:
        return web(shared, secrets=["word"], **more) + document("Secret", "word", content=content)

    assert apply(shared, text("old", parallelism=0, monitor="0s")) == 0
    before = pids(shared)
    capfd.readouterr()
    assert apply(shared, text("new")) == 0
    assert moves(capfd.readouterr().out) == [["web-1", "web-2"], ["web-3", "web-4"]]
    assert not set(before.values()) & set(pids(shared).values())
    assert {shared.inside(name, "cat", "/run/secrets/word") for name in before} == {"new"}
    assert shared.diff(text("new")).empty


def test_an_apply_ends_when_somebody_else_asks_for_something_else(shared: Machine) -> None:
    before = begun(shared)
    codes: list[int] = []
    slow = web(shared, "sleep 2147483642", monitor="1h")
    applying = Thread(target=lambda: codes.append(apply(shared, slow)))
    applying.start()
    until(lambda: state(shared).under_way and is_another(shared, "web-1", before))
    assert apply(shared, web(shared, "sleep 2147483641")) == 0
    applying.join(60)
    assert codes == [1]
    assert state(shared).progress is Progress.DONE and shared.diff(web(shared, "sleep 2147483641")).empty


def test_a_paused_rollout_goes_on_with_other_manifests(shared: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    before = begun(shared)
    assert apply(shared, web(shared, "exit 3")) == 1
    assert "rollout paused: Container/web-1: exit code 3" in capfd.readouterr().err
    assert [shared.process(name).pid for name in ("web-3", "web-4")] == [before["web-3"], before["web-4"]]
    assert state(shared).progress is Progress.HALTED
    begun(shared)
    assert [name for name, pid in pids(shared).items() if pid == before[name]] == ["web-3", "web-4"]


def test_what_cannot_be_started_at_all_goes_no_further(shared: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    before = begun(shared)
    assert apply(shared, web(shared).replace('"sh", "-c"', '"/nowhere", "-c"')) == 1
    assert "rollout paused: Container/web-1: " in capfd.readouterr().err
    assert state(shared).progress is Progress.HALTED
    assert [shared.process(name).pid for name in ("web-3", "web-4")] == [before["web-3"], before["web-4"]]


def test_reconcile_tries_again(shared: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    begun(shared)
    assert apply(shared, web(shared, "exit 3", failure_action="rollback")) == 1
    capfd.readouterr()
    assert reconcile(shared.layout, ["service/web"], 10) == 1
    assert "! Service/web rolled back: Container/web-1: exit code 3" in capfd.readouterr().err
    assert state(shared).back


def test_others_run_before_the_first_one_goes(shared: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    before = begun(shared)
    capfd.readouterr()
    changed = web(shared, "sleep 2147483644", order="start-first")
    assert apply(shared, changed) == 0
    lines = [line.split()[:2] for line in capfd.readouterr().out.splitlines()]
    first = lines.index(["±", "Container/web-1"])
    assert lines.index(["+", "Container/web-5"]) < first and lines.index(["+", "Container/web-6"]) < first
    assert lines.index(["-", "Container/web-5"]) > lines.index(["±", "Container/web-4"])
    assert not set(before.values()) & set(pids(shared).values())
    assert "web-5" not in shared.containers() and shared.diff(changed).empty


def test_unhealthy_ones_are_no_rollout_and_the_old_ones_answer(
    shared: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    """The new ones serve and are not healthy; what answers at the Service's address meanwhile are the old ones."""
    assert apply(shared, site(shared, "v1", "true", parallelism=0, monitor="0s")) == 0
    before = pids(shared, 2)
    assert apply(shared, site(shared, "v2", "test ! -e /www")) == 1
    assert "is unhealthy" in capfd.readouterr().err
    after = pids(shared, 2)
    assert [name for name in before if before[name] == after[name]] == ["web-2"]
    until(lambda: answer() == "v1")
    assert {answer() for _ in range(6)} == {"v1"}
    # and one that is healthy goes all the way
    assert apply(shared, site(shared, "v3", "test -e /www")) == 0
    until(lambda: answer() == "v3")
    assert {answer() for _ in range(6)} == {"v3"}


def site(machine: Machine, text: str, test: str, **pace: object) -> str:
    serve = f"mkdir -p /www; echo {text} > /www/index.html; exec httpd -f -p 80 -h /www"
    check = {"test": ["CMD-SHELL", test], "interval": "200ms", "retries": 2}
    more = {"healthcheck": check, "ports": [f"127.0.0.1:{PORT}:80"], "parallelism": 1, "failure_action": "rollback"}
    return web(machine, serve, 2, **{**more, **pace})


def answer() -> str:
    """Of whichever replica it is; empty where none answers."""
    asked = HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        asked.request("GET", "/")
        return asked.getresponse().read().decode().strip()
    except OSError:
        return ""
    finally:
        asked.close()
