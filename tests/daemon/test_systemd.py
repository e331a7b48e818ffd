"""The daemon under a real systemd: installed, ready, reloaded, killed, stopped, back after a reboot, taken away.

Whatever happens to the daemon, the processes of its containers stay what they are.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import remove_tree
from tests.daemon.systemd import Machine, machine

pytestmark = pytest.mark.kernel

SHOP = """
apiVersion: trimtab/v1
kind: Image
metadata: {{name: busybox}}
spec: {{rootfs: {base}/rootfs}}
---
apiVersion: trimtab/v1
kind: Container
metadata: {{name: one}}
spec:
  image: busybox
  network_mode: none
  init: true
  mem_limit: 32m
  restart: always
  command: [sleep, "100000"]
"""


@pytest.fixture(scope="module")
def booted(busybox_tree: Path) -> Iterator[Machine]:
    """A machine whose systemd keeps a daemon, which follows a directory with one container."""
    base = Path(tempfile.mkdtemp(prefix="tts-", dir="/tmp"))
    try:
        with machine(base) as made:
            shutil.copytree(busybox_tree, base / "rootfs", symlinks=True)
            (base / "shop").mkdir()
            (base / "shop/shop.yaml").write_text(SHOP.format(base=base))
            told = made.ok("trimtab", "system", "install", "--source", str(base / "shop"))
            assert told == "/etc/systemd/system/trimtab.service is enabled and started.\n"
            made.until(lambda: len(made.inside("one")) == 2, "no container")
            yield made
    finally:
        remove_tree(base)


def main_process(booted: Machine) -> str:
    assert booted.shown("ActiveState") == "active", booted.told()
    return booted.shown("MainPID")


def test_systemd_is_told_that_it_is_ready_and_alive(booted: Machine) -> None:
    assert main_process(booted) != "0"
    assert booted.ok("systemctl", "is-enabled", "trimtab").strip() == "enabled"
    assert booted.shown("StatusText") == "keeping the machine as declared"
    assert int(booted.shown("WatchdogTimestampMonotonic")) > 0
    assert booted.ok("trimtab", "get", "containers", "-o", "name").strip() == "Container/one"


CONNECT = "import socket; socket.socket(socket.AF_UNIX).connect('/run/trimtab/api.sock')"


def test_the_socket_is_roots_and_of_the_group_that_was_made_for_it(booted: Machine) -> None:
    assert booted.ok("getent", "group", "trimtab").rstrip().endswith(":"), "nobody is in it unasked"
    assert booted.ok("stat", "--format", "%a %U:%G", "/run/trimtab/api.sock") == "660 root:trimtab\n"
    somebody = ("setpriv", "--reuid=12345", "--clear-groups", "--regid")
    booted.ok(*somebody, "trimtab", "/usr/bin/python3", "-c", CONNECT)
    assert "PermissionError" in booted.run(*somebody, "12345", "/usr/bin/python3", "-c", CONNECT).stderr


def test_a_reload_reads_the_settings_again(booted: Machine) -> None:
    before = main_process(booted)
    booted.ok("systemctl", "reload", "trimtab")
    booted.until(lambda: '"reloaded"' in booted.told(), "not reloaded")
    booted.until(lambda: booted.shown("ActiveState") == "active", "still reloading")
    assert (main_process(booted), booted.shown("StatusText")) == (before, "keeping the machine as declared")


def test_a_killed_daemon_is_started_again_and_its_containers_never_notice(booted: Machine) -> None:
    before, processes = main_process(booted), booted.inside("one")
    booted.ok("systemctl", "kill", "--kill-who=main", "--signal=KILL", "trimtab")
    booted.until(lambda: booted.shown("MainPID") not in (before, "0"), "not started again")
    booted.until(lambda: booted.shown("ActiveState") == "active", "not ready again")
    assert booted.inside("one") == processes and int(booted.shown("NRestarts")) >= 1


def test_a_restart_and_a_stop_are_the_daemons_alone(booted: Machine) -> None:
    before, processes = main_process(booted), booted.inside("one")
    booted.ok("systemctl", "restart", "trimtab")
    assert main_process(booted) != before and booted.inside("one") == processes
    booted.ok("systemctl", "stop", "trimtab")
    assert (booted.shown("ActiveState"), booted.shown("Result")) == ("inactive", "success")
    assert booted.inside("one") == processes
    booted.ok("systemctl", "start", "trimtab")
    assert main_process(booted) != "0" and booted.inside("one") == processes
    # and it is looked after again
    os.kill(max(processes), signal.SIGKILL)
    booted.until(lambda: len(found := booted.inside("one")) == 2 and found != processes, "not restarted")


def test_it_comes_back_after_a_reboot_and_so_do_containers(booted: Machine) -> None:
    processes = booted.inside("one")
    booted.power_off()
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    booted.boot()
    booted.until(lambda: len(booted.inside("one")) == 2, "no container after a reboot")
    assert main_process(booted) != "0"
    booted.until(lambda: "running" in booted.ok("trimtab", "get", "containers"), "not seen as running")


def test_uninstalled_it_is_gone_and_containers_go_on(booted: Machine) -> None:
    processes = booted.inside("one")
    assert booted.ok("trimtab", "system", "uninstall") == "The unit is gone; containers go on running.\n"
    assert list((booted.base / "etc").rglob("trimtab.service")) == []
    assert booted.run("systemctl", "status", "trimtab").returncode == 4  # no such unit (systemctl(1))
    assert booted.inside("one") == processes
