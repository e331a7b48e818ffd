"""The loop on the real kernel: what a hand or a failure undoes is done again, by itself, and no more than that."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.steering import reconcile
from reconciler.engine import open_engine
from reconciler.lock import engine_lock
from reconciler.loop.settings import LoopSettings
from reconciler.sources.members import with_members
from reconciler.sources.status import SourceStatus, State
from reconciler.store.events import read_events
from reconciler.store.health import known_health
from reconciler.store.status import read_statuses
from runtime.kernel import cgroup
from runtime.network.dns.process import read_dns
from runtime.process import client
from tests.loop.driving import Driven, driven
from tests.loop.test_health import backends, container, document, is_running
from tests.machine.machine import Machine, until
from tests.machine.probe import says

pytestmark = pytest.mark.kernel

QUICK = LoopSettings(store_poll=0.05)
SHOP = """
---
apiVersion: trimtab/v1
kind: Network
metadata: {name: front}
spec: {}
---
apiVersion: trimtab/v1
kind: Volume
metadata: {name: data}
spec: {driver_opts: {type: tmpfs, device: tmpfs}}
---
apiVersion: trimtab/v1
kind: Volume
metadata: {name: plain}
spec: {}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: db}
spec:
  image: busybox
  stop_signal: SIGKILL
  restart: always
  networks: [front]
  mem_limit: 64m
  volumes: ["data:/data", "plain:/plain"]
  ports: ["18099:80"]
"""


def pid_of(machine: Machine, name: str = "db") -> int:
    return machine.process(name).pid


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


def bridge(machine: Machine) -> str:
    return machine.layout.link("b", "front")


def gateway(machine: Machine) -> str:
    shown = subprocess.run(
        ["ip", "-o", "-4", "addr", "show", bridge(machine)], capture_output=True, text=True, check=True
    )
    return shown.stdout.split()[3]


def edit_limit(machine: Machine) -> None:
    cgroup.write_limits(machine.layout.cgroup("db"), {"memory": {"limit": 32 << 20}})


def remove_layers(machine: Machine) -> None:
    for path in machine.layout.layers.iterdir():
        shutil.rmtree(path)


def remove_trees(machine: Machine) -> None:
    for path in machine.layout.layers.iterdir():
        shutil.rmtree(path / "tree")


def unmount_inside(machine: Machine) -> None:
    machine.inside("db", "/bin/busybox", "umount", "-l", "/data")


def end_dns(machine: Machine) -> None:
    pid = read_dns(machine.layout).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


DEEDS: dict[str, Callable[[Machine], None]] = {
    "killed init": lambda m: os.kill(pid_of(m), signal.SIGKILL),
    "killed monitor": lambda m: os.kill(m.process("db").monitor_pid, signal.SIGKILL),
    "deleted bridge": lambda m: run("ip", "link", "del", bridge(m)),
    "bridge set down": lambda m: run("ip", "link", "set", bridge(m), "down"),
    "deleted gateway": lambda m: run("ip", "addr", "del", gateway(m), "dev", bridge(m)),
    "deleted link inside": lambda m: run("nsenter", "-t", str(pid_of(m)), "-n", "ip", "link", "del", "eth0"),
    "deleted route inside": lambda m: run("nsenter", "-t", str(pid_of(m)), "-n", "ip", "route", "del", "default"),
    "flushed address inside": lambda m: run("nsenter", "-t", str(pid_of(m)), "-n", "ip", "addr", "flush", "eth0"),
    "flushed ruleset": lambda m: run("nft", "flush", "ruleset"),
    "deleted table": lambda m: run("nft", "delete", "table", "inet", m.layout.nft_table),
    "edited limit": edit_limit,
    "unmounted volume": lambda m: run("umount", "-l", str(m.layout.volumes / "data/_data")),
    "unmounted inside": unmount_inside,
    "removed layers": remove_layers,
    "removed trees of layers": remove_trees,
    "removed volume": lambda m: shutil.rmtree(m.layout.volumes / "plain"),
    "removed data of a volume": lambda m: shutil.rmtree(m.layout.volumes / "plain/_data"),
    "killed DNS": end_dns,
    "removed DNS record": lambda m: (m.layout.dns / "networks/front/db").unlink(),
    "frozen by hand": lambda m: cgroup.freeze(m.layout.cgroup("db")),
}


SERVED = """
---
apiVersion: trimtab/v1
kind: Network
metadata: {name: front}
spec: {enable_ipv6: true}
---
apiVersion: trimtab/v1
kind: Service
metadata: {name: web}
spec: {image: busybox, init: true, networks: [front], deploy: {replicas: 1}}
"""


def single_addresses(machine: Machine) -> list[str]:
    """Those of Services on the bridge: /32 and /128."""
    shown = subprocess.run(["ip", "-o", "addr", "show", bridge(machine)], capture_output=True, text=True, check=False)
    return sorted(word for word in shown.stdout.split() if word.endswith(("/32", "/128")))


@pytest.mark.parametrize("number", [0, 1])
def test_a_services_address_taken_from_its_bridge_comes_back(machine: Machine, number: int) -> None:
    machine.converge(machine.image + SERVED)
    before = single_addresses(machine)
    assert len(before) == 2
    with driven(machine.layout, QUICK) as loop:
        run("ip", "addr", "del", before[number], "dev", bridge(machine))
        until(lambda: single_addresses(machine) == before)
        loop.settle()
        quiet(loop)
        (done,) = loop.actions()
        assert done.startswith("~ Service/web update: drift: balance.front.virtual: ")


def test_a_services_address_comes_back_with_its_bridge(machine: Machine) -> None:
    machine.converge(machine.image + SERVED)
    before = single_addresses(machine)
    with driven(machine.layout, QUICK) as loop:
        run("ip", "link", "del", bridge(machine))
        until(lambda: single_addresses(machine) == before)
        loop.settle()
        until(lambda: machine.diff(machine.image + SERVED).empty)
        assert not [values for event, values in loop.told if event == "action" and values["error"]]


@pytest.mark.parametrize("deed", DEEDS)
def test_what_is_undone_by_hand_is_done_again(machine: Machine, deed: str) -> None:
    text = machine.image + SHOP
    machine.converge(text)
    with driven(machine.layout, QUICK) as loop:
        assert loop.actions() == []
        DEEDS[deed](machine)
        until(lambda: loop.actions() != [])
        loop.settle()
        until(lambda: machine.diff(text).empty)
        loop.settle()
        assert not [values for event, values in loop.told if event == "action" and values["error"]]
        done = len(loop.actions())
        quiet(loop)
        assert len(loop.actions()) == done


def quiet(loop: Driven) -> None:
    """Everything looked at once more, and done with."""
    assert loop.loop is not None and loop.asyncio is not None
    loop.asyncio.call_soon_threadsafe(loop.loop.mark_all, "resync")
    loop.asyncio.call_soon_threadsafe(loop.loop.asked_changed)
    loop.settle()


def test_a_fresh_loop_over_running_containers_restarts_nothing(machine: Machine) -> None:
    machine.converge(machine.image + SHOP)
    pid = pid_of(machine)
    for _ in range(2):
        with driven(machine.layout) as loop:
            assert loop.actions() == []
    assert pid_of(machine) == pid


@pytest.mark.parametrize(
    ("restart", "command", "starts"),
    [("no", "exit 3", 0), ("on-failure", "exit 0", 0), ("on-failure:2", "exit 3", 2), ("no", "exit 0", 0)],
)
def test_a_policy_says_how_often_an_ended_process_is_started(
    machine: Machine, restart: str, command: str, starts: int
) -> None:
    text = machine.image + container(
        "job", command=["sh", "-c", f"sleep 0.3; {command}"], restart=restart, restart_policy={"delay": "50ms"}
    )
    machine.apply(text)
    with driven(machine.layout, QUICK) as loop:
        until(lambda: len(loop.actions()) >= starts and not is_running(machine, "job"))
        client.wait(machine.layout, "job", 10)
        until(lambda: not is_running(machine, "job"))
        loop.settle()
        quiet(loop)
        assert len(loop.actions()) == starts


def test_delays_grow_from_the_second_restart_on(machine: Machine) -> None:
    """By the program's own clock: between two of its starts lies at least the delay, however busy the machine."""
    policy = {"delay": "200ms", "max_delay": "400ms"}
    command = ["sh", "-c", "cat /proc/uptime; false"]
    machine.apply(machine.image + container("job", command=command, restart="always", restart_policy=policy))
    with driven(machine.layout, QUICK):
        moments = [float(line.split()[0]) for line in says(machine, "job", 6)]
    gaps = [later - earlier + 0.01 for earlier, later in pairwise(moments)]
    assert gaps[1] >= 0.2 and all(gap >= 0.4 for gap in gaps[2:5]), gaps


def test_a_start_that_fails_is_told_and_tried_again_once_it_may_work(machine: Machine, tmp_path: Path) -> None:
    source = tmp_path / "later"
    mount = {"type": "bind", "source": str(source), "target": "/later", "bind": {"create_host_path": False}}
    text = machine.image + container("web", restart="always", volumes=[mount])
    source.mkdir()
    machine.converge(text)
    with driven(machine.layout, QUICK) as loop:
        source.rmdir()
        os.kill(pid_of(machine, "web"), signal.SIGKILL)
        until(lambda: any(values.get("error") for event, values in loop.told if event == "action"))
        source.mkdir()
        if any(values["final"] for event, values in loop.told if event == "action" and values["error"]):
            assert reconcile(machine.layout, ["container/web"], 10) == 0
        until(lambda: is_running(machine, "web"))
        until(lambda: machine.diff(text).empty)


def test_what_another_process_applies_is_looked_after(machine: Machine) -> None:
    machine.converge(machine.image + container("first", restart="always"))
    with driven(machine.layout, QUICK) as loop:
        text = machine.image + container("first", restart="always") + container("second", restart="always")
        with engine_lock(machine.layout.lock, 10):
            machine.converge(text)
        until(lambda: loop.loop is not None and len(loop.loop.wanted.desired) == 4)
        loop.settle()
        pid = pid_of(machine, "second")
        os.kill(pid, signal.SIGKILL)
        until(lambda: is_running(machine, "second") and pid_of(machine, "second") != pid)
        loop.settle()
        assert machine.diff(text).empty


def test_one_that_takes_its_time_to_stop_keeps_nobody_waiting(machine: Machine) -> None:
    deaf = container("deaf", command=["sleep", "1000"], stop_grace_period="20s")
    text = machine.image + deaf.replace('"stop_signal": "SIGKILL", ', "") + container("quick", restart="always")
    machine.converge(text)
    with driven(machine.layout, QUICK) as loop:
        os.kill(machine.process("deaf").monitor_pid, signal.SIGKILL)
        until(lambda: any("Container/deaf" in str(values) for event, values in loop.told if event == "pass"))
        pid = pid_of(machine, "quick")
        os.kill(pid, signal.SIGKILL)
        until(lambda: is_running(machine, "quick") and pid_of(machine, "quick") != pid, 5.0)
        assert not any("Container/deaf" in action for action in loop.actions())
        os.kill(pid_of(machine, "deaf"), signal.SIGKILL)


def test_a_service_is_repaired_while_one_replica_cannot_start(machine: Machine) -> None:
    check = {"test": ["CMD-SHELL", "[ ! -e /ill ]"], "interval": "50ms", "retries": 1}
    needs = {"db": {"condition": "service_healthy"}}
    api = {"image": "busybox", "init": True, "restart": "always", "depends_on": needs, "deploy": {"replicas": 2}}
    text = machine.image + container("db", healthcheck=check) + document("Service", "api", **api)
    machine.converge(text)
    with driven(machine.layout, QUICK) as loop:
        machine.inside("db", "touch", "/ill")
        until(lambda: known(machine, "db") == "unhealthy")
        os.kill(pid_of(machine, "api-1"), signal.SIGKILL)
        until(lambda: any(values["object"] == "Container/api-1" and values["error"] for values in told_actions(loop)))
        run("nft", "flush", "table", "inet", machine.layout.nft_table)
        until(lambda: backends(machine, "api") == {"api-2"})
        until(lambda: healths(machine).get("Service/api") == "Degraded")
        assert any(each.startswith("Service/api: ") for each in told_failed(machine))
        wait_for_a_try(loop)
        noted = updates(machine, "Service/api")
        wait_for_a_try(loop)
        assert updates(machine, "Service/api") == noted
        machine.inside("db", "rm", "/ill")
        until(lambda: backends(machine, "api") == {"api-1", "api-2"})
        until(lambda: healths(machine).get("Service/api") == "Healthy")
        until(lambda: told_failed(machine) == [])


def wait_for_a_try(loop: Driven) -> None:
    """One more of the one that cannot start."""
    before = tries(loop)
    until(lambda: tries(loop) > before)


def tries(loop: Driven) -> int:
    return sum(1 for values in told_actions(loop) if values["object"] == "Container/api-1" and values["error"])


def updates(machine: Machine, name: str) -> int:
    """Events that say the object was updated."""
    with open_engine(machine.layout) as engine:
        return sum(1 for event in read_events(engine.database, name) if event.reason == "Updated")


def told_actions(loop: Driven) -> list[Mapping[str, Any]]:
    return [values for event, values in loop.told if event == "action"]


def known(machine: Machine, name: str) -> str:
    with open_engine(machine.layout) as engine:
        found = known_health(engine.database, name)
    return found.status.value if found is not None else ""


def healths(machine: Machine) -> dict[str, str]:
    with open_engine(machine.layout) as engine:
        return {name: status.health.value for name, status in read_statuses(engine.database).items()}


def told_failed(machine: Machine) -> list[str]:
    """What `trimtab status` tells of a source whose set this is."""
    with open_engine(machine.layout) as engine:
        (found,) = with_members(engine.database, [SourceStatus("shop", "shop", "", State.READY)])
    assert (found.state is State.DEGRADED) == bool(found.message)
    return found.message.splitlines()
