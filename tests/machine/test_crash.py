"""SIGKILL of an apply at every boundary between actions: the next one converges, nothing is duplicated or lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.prune import Pruning
from runtime.process import client
from tests.conftest import EMULATED, SLOWER
from tests.machine.machine import Machine, until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

STRIDE = 4 if EMULATED else 1
"""Every so many boundaries an apply is killed: each of them takes an emulated processor ten seconds."""
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
spec: {}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: db}
spec:
  image: busybox
  init: true
  mem_limit: 64m
  volumes: ["data:/data"]
  networks: [front]
  ports: ["127.0.0.1:15432:5432"]
---
apiVersion: trimtab/v1
kind: Service
metadata: {name: web}
spec:
  image: busybox
  init: true
  networks: [front]
  deploy: {replicas: 1}
"""
CHANGED = SHOP.replace("mem_limit: 64m", "mem_limit: 32m\n  working_dir: /tmp").replace("replicas: 1", "replicas: 2")


def killed_apply(machine: Machine, text: str, moment: int | str, *flags: str) -> int:
    """The exit status: -9 when the boundary or the moment came, 0 when the work was done before."""
    manifests = machine.layout.root / "shop.yaml"
    manifests.write_text(machine.image + text)
    arguments = [str(machine.layout.root), str(machine.layout.run), str(manifests), str(moment), *flags]
    done = subprocess.run(
        [sys.executable, "-m", "tests.machine.killed", *arguments],
        timeout=60 * SLOWER,
        check=False,
        capture_output=True,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


def expect_exactly(machine: Machine, *names: str) -> None:
    """These containers run, and neither a process, a cgroup nor a link of another."""
    assert machine.containers() == sorted(names)
    assert {Path(path).name.removesuffix(".container") for path in machine.cgroups()} == set(names)
    until(lambda: len([line for line in machine.links() if line.startswith("ttv")]) == len(names))
    for name in names:
        assert machine.process(name).phase.value == "running"


def expect_nothing(machine: Machine) -> None:
    """The kernel takes a network namespace's links away a moment after its last process."""
    assert machine.containers() == []
    until(lambda: machine.links() == [])


def test_a_first_apply_killed_at_each_boundary_is_finished_by_the_next(machine: Machine) -> None:
    boundary = 0
    while True:
        status = killed_apply(machine, SHOP, boundary)
        machine.converge(machine.image + SHOP)
        expect_exactly(machine, "db", "web-1")
        machine.delete()
        expect_nothing(machine)
        if status == 0:
            break
        boundary += STRIDE
    assert boundary >= 12, "there are six objects, and a boundary before and after each"


def test_a_change_killed_at_each_boundary_is_finished_and_the_volume_keeps_its_data(machine: Machine) -> None:
    machine.converge(machine.image + SHOP)
    machine.inside("db", "/bin/sh", "-c", "echo precious > /data/file")
    boundary = 0
    while killed_apply(machine, CHANGED, boundary) != 0:
        machine.converge(machine.image + CHANGED)
        expect_exactly(machine, "db", "web-1", "web-2")
        assert machine.inside("db", "/bin/cat", "/data/file") == "precious\n"
        machine.converge(machine.image + SHOP, pruning=Pruning(enabled=True))
        expect_exactly(machine, "db", "web-1")
        boundary += STRIDE
    assert boundary >= 6


def test_a_deletion_killed_at_each_boundary_is_finished_by_the_next(machine: Machine) -> None:
    boundary = 0
    while True:
        machine.converge(machine.image + SHOP)
        status = killed_apply(machine, SHOP, boundary, "--delete")
        outcomes = machine.delete()
        assert all(outcome.ok for outcome in outcomes)
        expect_nothing(machine)
        assert machine.sets() == []
        if status == 0:
            break
        boundary += STRIDE
    assert boundary >= 12
    assert (machine.layout.volumes / "data" / "_data").exists(), "a volume's data outlives its deletion"


def test_an_apply_killed_at_any_moment_is_finished_by_the_next(machine: Machine) -> None:
    chance = random.Random(7)
    for _ in range(3 if EMULATED else 8):
        manifests = machine.layout.root / "shop.yaml"
        manifests.write_text(machine.image + SHOP)
        arguments = [str(machine.layout.root), str(machine.layout.run), str(manifests), "999"]
        running = subprocess.Popen([sys.executable, "-m", "tests.machine.killed", *arguments])
        time.sleep((0.4 + chance.random() * 0.8) * SLOWER)
        running.kill()
        running.wait(10 * SLOWER)
        machine.converge(machine.image + SHOP)
        expect_exactly(machine, "db", "web-1")
        machine.delete()
        expect_nothing(machine)


def test_containers_go_on_when_the_launcher_is_killed_and_the_next_apply_starts_a_new_one(machine: Machine) -> None:
    machine.converge(machine.image + SHOP)
    before = machine.process("db")
    client.stop_launcher(machine.layout)
    assert machine.process("db").pid == before.pid
    assert machine.diff(machine.image + SHOP).empty
    machine.converge(machine.image + CHANGED)
    expect_exactly(machine, "db", "web-1", "web-2")
