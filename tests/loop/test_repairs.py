"""The loop on the real kernel: what a hand or a failure undoes is done again, by itself."""

from __future__ import annotations

import os
import signal

import pytest

from runtime.process import client
from tests.loop.driving import driven
from tests.machine.machine import Machine, until

pytestmark = pytest.mark.kernel

SHOP = """
---
apiVersion: trimtab/v1
kind: Network
metadata: {name: front}
spec: {}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: db}
spec:
  image: busybox
  restart: always
  networks: [front]
  mem_limit: 64m
  ports: ["18099:80"]
"""


def test_a_fresh_loop_over_running_containers_restarts_nothing(machine: Machine) -> None:
    machine.converge(machine.image + SHOP)
    pid = machine.process("db").pid
    with driven(machine.layout) as loop:
        assert loop.actions() == []
    assert machine.process("db").pid == pid


def test_a_killed_process_runs_again(machine: Machine) -> None:
    machine.converge(machine.image + SHOP)
    with driven(machine.layout) as loop:
        pid = machine.process("db").pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: running(machine, "db") not in (pid, None))
        loop.settle()
        assert loop.actions() == ["~ Container/db update: drift: process: killed by signal 9 → running"]
    assert machine.diff(machine.image + SHOP).empty


def running(machine: Machine, name: str) -> int | None:
    """The pid of the container's process if it runs now."""
    process = client.read_process(machine.layout, name)
    return process.pid if process is not None and process.phase.value == "running" else None
