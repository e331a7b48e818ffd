"""`/metrics`: passes, what waits, what drifted and was repaired."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.process.client import read_process
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import Daemon, daemon
from tests.daemon.test_life import SOLO, pid_of, wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture
def running(busybox_tree: Path) -> Iterator[tuple[Engine, Daemon]]:
    with making_engine() as engine:
        engine.write("solo.yaml", shop_manifest(busybox_tree).partition("---")[0] + SOLO)
        engine.ok("-H", "none", "apply", "--set", "solo", "solo.yaml")
        with daemon(engine) as made:
            yield engine, made


def read(path: Path) -> tuple[str, str]:
    """The head and the body of the answer."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(path))
        channel.sendall(b"GET /metrics HTTP/1.1\r\nHost: daemon\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := channel.recv(1 << 16):
            answer += piece
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


def value(body: str, name: str, **labels: str) -> float:
    """0 for a sample that is not there yet."""
    wanted = ",".join(f'{key}="{text}"' for key, text in sorted(labels.items()))
    found = re.search(rf"^{re.escape(name + (f'{{{wanted}}}' if wanted else ''))} (\S+)$", body, re.MULTILINE)
    return float(found[1]) if found else 0.0


def running_pid(engine: Engine) -> int | None:
    found = read_process(engine.layout, "solo")
    return found.pid if found is not None and found.phase.value == "running" else None


def test_a_repair_is_counted_and_timed(running: tuple[Engine, Daemon]) -> None:
    engine, made = running
    before = pid_of(engine)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: running_pid(engine) not in (None, before))
    wait_until(lambda: value(read(made.socket)[1], "trimtab_repairs_total", kind="Container") >= 1)
    head, body = read(made.socket)
    assert "text/plain; version=" in head
    assert value(body, "trimtab_drift_total", kind="Container") >= 1
    assert value(body, "trimtab_actions_total", kind="Container", verb="update", result="updated") >= 1
    assert value(body, "trimtab_reconcile_seconds_count", set="solo") >= 1
    assert value(body, "trimtab_objects") >= 2
    assert "# TYPE trimtab_queue gauge" in body
