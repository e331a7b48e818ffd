"""The daemon's life and death, on a real kernel: containers never notice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.process.client import read_process
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import answers, daemon

pytestmark = pytest.mark.kernel

SOLO = """\
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: solo}
spec: {image: busybox, command: [sleep, "1000000"], restart: always, stop_grace_period: 0s}
"""


@pytest.fixture
def solo(busybox_tree: Path) -> Iterator[Engine]:
    """An engine with one container applied, no daemon."""
    with making_engine() as engine:
        engine.write("solo.yaml", shop_manifest(busybox_tree).partition("---")[0] + SOLO)
        engine.ok("-H", "none", "apply", "--set", "solo", "solo.yaml")
        yield engine


def pid_of(engine: Engine, name: str = "solo") -> int:
    found = read_process(engine.layout, name)
    assert found is not None and found.phase.value == "running", found
    return found.pid


def wait_until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_start_and_end_leave_containers_alone(solo: Engine) -> None:
    before = pid_of(solo)
    with daemon(solo) as running:
        assert "container" in solo.ok("get").out.lower()
        said = running.end()
    assert said.code == 0
    assert pid_of(solo) == before
    assert not solo.layout.api_socket.exists()
    assert solo.ok("get", "-o", "name").lines


def test_a_killed_daemon_is_followed_by_one_that_adopts_all(solo: Engine) -> None:
    before = pid_of(solo)
    with daemon(solo) as first:
        first.end(signal.SIGKILL)
    assert solo.layout.api_socket.exists(), "what it left must be taken over"
    assert not answers(solo.layout.api_socket)
    assert solo.ok("get", "-o", "name").code == 0, "a stale socket leaves the command to itself"
    with daemon(solo):
        assert answers(solo.layout.api_socket)
        assert solo.ok("diff", "--set", "solo", "solo.yaml").code == 0
    assert pid_of(solo) == before


def test_a_second_daemon_on_the_root_refuses_and_names_the_first(solo: Engine) -> None:
    with daemon(solo) as first:
        second = solo.run("daemon")
        assert second.code == 2
        assert f"process {first.pid}" in second.err
        elsewhere = solo.base / "run2"
        other = solo.start("--run", str(elsewhere), "daemon")
        assert other.wait().code == 2
        assert answers(first.socket)


def test_another_root_does_not_take_a_socket_that_is_heard(solo: Engine) -> None:
    with daemon(solo) as first:
        other = solo.start("--root", str(solo.base / "root2"), "daemon", "--listen", f"unix://{first.socket}")
        said = other.wait()
        assert said.code == 2 and "another process listens there" in said.err
        assert answers(first.socket)


def test_the_command_line_of_another_root_does_not_speak_to_this_daemon(solo: Engine) -> None:
    with daemon(solo):
        assert solo.run("--root", str(solo.base / "root2"), "get").err == "No objects.\n"


def test_the_socket_is_roots_and_the_groups_alone(solo: Engine) -> None:
    with daemon(solo, "--log", "json") as running:
        assert stat.S_IMODE(running.socket.stat().st_mode) in (0o600, 0o660)
        assert running.socket.stat().st_uid == 0
    solo.environment["TRIMTAB_DAEMON_GROUP"] = "nogroup"
    with daemon(solo) as running:
        found = running.socket.stat()
        assert stat.S_IMODE(found.st_mode) == 0o660
        done = subprocess.run(
            ["python3", "-c", f"import socket; socket.socket(socket.AF_UNIX).connect({str(running.socket)!r})"],
            user=12345,
            group=12345,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
        assert b"PermissionError" in done.stderr


def test_killed_in_the_middle_of_an_apply_it_leaves_what_the_next_can_finish(solo: Engine) -> None:
    many = "".join(SOLO.replace("name: solo", f"name: many{number}") for number in range(12))
    solo.write("many.yaml", many.removeprefix("---\n"))
    for wait in (0.05, 0.15, 0.3):
        with daemon(solo) as running:
            applying = solo.start("apply", "--set", "many", "many.yaml")
            time.sleep(wait)
            running.end(signal.SIGKILL)
            assert applying.wait().code in (0, 1)
    with daemon(solo):
        assert solo.ok("apply", "--set", "many", "many.yaml").code == 0
        assert solo.run("diff", "--set", "many", "many.yaml").code == 0
        assert solo.ok("delete", "--set", "many").code == 0


def test_sigterm_in_the_middle_of_an_apply_ends_it_between_two_actions(solo: Engine) -> None:
    many = "".join(SOLO.replace("name: solo", f"name: many{number}") for number in range(30))
    solo.write("many.yaml", many.removeprefix("---\n"))
    with daemon(solo) as running:
        applying = solo.start("apply", "--parallel", "1", "--set", "many", "many.yaml")
        wait_until(lambda: "create" in applying.so_far().out)
        assert running.end().code == 0
        said = applying.wait()
    assert said.code in (1, 130), said
    assert "failed" not in said.err + said.out
    assert solo.ok("-H", "none", "apply", "--set", "many", "many.yaml").code == 0


def test_a_container_that_dies_comes_back(solo: Engine) -> None:
    with daemon(solo) as served:
        before = pid_of(solo)
        os.kill(before, signal.SIGKILL)

        def back() -> bool:
            found = read_process(solo.layout, "solo")
            return found is not None and found.phase.value == "running" and found.pid != before

        try:
            wait_until(back)
        except AssertionError:
            raise AssertionError(served.running.so_far().err[-3000:]) from None


@contextlib.contextmanager
def notified(engine: Engine) -> Iterator[socket.socket]:
    """What systemd would hear."""
    path = engine.base / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.settimeout(20)
        engine.environment |= {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}
        yield heard


def test_systemd_is_told_of_start_life_reload_and_end(solo: Engine) -> None:
    def hear(heard: socket.socket, wanted: str) -> str:
        while True:
            text = heard.recv(4096).decode()
            if wanted in text:
                return text

    with notified(solo) as heard, daemon(solo) as running:
        assert f"MAINPID={running.pid}" in hear(heard, "READY=1")
        hear(heard, "WATCHDOG=1")
        hear(heard, "WATCHDOG=1")
        running.send(signal.SIGHUP)
        assert int(hear(heard, "RELOADING=1").split("MONOTONIC_USEC=")[1].split()[0]) > 0
        hear(heard, "READY=1")
        running.send(signal.SIGTERM)
        hear(heard, "STOPPING=1")


def test_a_reload_takes_new_settings_and_leaves_wrong_ones(solo: Engine) -> None:
    settings = Path(solo.write("daemon.yaml", "log: json\nlog_level: info\n"))
    with daemon(solo, "--config", str(settings)) as running:
        settings.write_text("log: json\nlog_level: loud\n")
        running.send(signal.SIGHUP)
        running.wait_log("not reloaded")
        assert solo.ok("get", "-o", "name").code == 0
        settings.write_text("log: json\nlog_level: debug\nlisten: [unix:///tmp/elsewhere]\n")
        running.send(signal.SIGHUP)
        running.wait_log('"listen"')


def test_settings_come_from_the_command_line_the_environment_and_a_file(solo: Engine) -> None:
    settings = solo.write("daemon.yaml", "log: json\nresync: 2m\npoll: 30\ngroup: staff\n")
    solo.environment |= {"TRIMTAB_DAEMON_POLL": "10", "TRIMTAB_DAEMON_GROUP": "adm"}
    printed = solo.ok("daemon", "--config", settings, "--log", "console", "--print-config").out
    values = dict(line.split(": ", 1) for line in printed.splitlines() if not line.startswith("#"))
    assert (values["log"], values["resync"], values["poll"], values["group"]) == (
        *('"console"', "120.0"),
        *("10.0", '"adm"'),
    )
    assert (values["passes"], values["probes"], values["parallel"]) == ("4", "16", "4")
    wrong = solo.write("wrong.yaml", "logg: json\nresync: 0\n")
    said = solo.run("daemon", "--config", wrong)
    assert said.code == 2 and "logg" in said.err and "resync" in said.err
    assert json.dumps(said.err)
