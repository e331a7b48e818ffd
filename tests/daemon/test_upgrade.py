"""Containers of an older trimtab under the daemon of this one: they never notice, and are its own from then on."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.store.database import FORMAT
from runtime.kernel.process import start_time
from runtime.network.dns.process import read_dns
from runtime.process.client import read_process
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.older import VERSION, WITHOUT_COPIES, copy_older, leave_older_state
from tests.daemon.running import daemon
from tests.daemon.test_life import wait_until

pytestmark = pytest.mark.kernel

NAMES = ("clock", "web-1", "web-2")
SITE = """\
---
apiVersion: trimtab/v1
kind: Network
metadata: {name: front}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: clock}
spec:
  image: busybox
  command: [sh, -c, "n=0; while :; do echo $$n; n=$$((n + 1)); sleep 0.05; done"]
  networks: [front]
  restart: always
  stop_grace_period: 0s
---
apiVersion: trimtab/v1
kind: Service
metadata: {name: web}
spec:
  image: busybox
  command: [sh, -c, "hostname > /tmp/index.html; exec httpd -f -p 80 -h /tmp"]
  networks: [front]
  ports: ["127.0.0.1:8080:80"]
  restart: always
  stop_grace_period: 0s
  deploy: {replicas: 2}
"""


@pytest.fixture
def site(busybox_tree: Path) -> Iterator[Engine]:
    with making_engine() as engine:
        engine.write("site.yaml", shop_manifest(busybox_tree).partition("---")[0] + SITE)
        yield engine


@contextlib.contextmanager
def asked_all_through() -> Iterator[list[str]]:
    """The published port, one connection after the other until the end of the block; every failure, in words."""
    ended, failures = threading.Event(), []

    def ask() -> None:
        while not ended.wait(0.01):
            if not (said := page()).startswith("web-"):
                failures.append(said)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield failures
    finally:
        ended.set()
        thread.join()


def page() -> str:
    try:
        with urllib.request.urlopen("http://127.0.0.1:8080/", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError as error:
        return repr(error)


def pids(engine: Engine) -> dict[str, tuple[int, int]]:
    """Of each container its process and its monitor, where it runs."""
    found = {name: read_process(engine.layout, name) for name in NAMES}
    return {
        name: (process.pid, process.monitor_pid)
        for name, process in found.items()
        if process is not None and process.phase.value == "running"
    }


def launcher(engine: Engine) -> int:
    return int(Path(f"{engine.layout.launcher_socket}.lock").read_text())


def counted(engine: Engine) -> list[int]:
    """What `clock` has said, in order."""
    return [int(line.split()[-1]) for line in engine.ok("logs", "clock").lines]


def looked_up(engine: Engine) -> str:
    return engine.run("exec", "clock", "nslookup", "web-1").out


def version_of(store: Path) -> int:
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_containers_of_an_older_version_go_on_under_the_next_ones_daemon_which_adopts_them(site: Engine) -> None:
    present = dict(site.environment)
    site.environment["PYTHONPATH"] = str(copy_older(site.base / "older"))
    assert VERSION in site.ok("version").out
    with daemon(site) as old:
        site.ok("apply", "--set", "site", "site.yaml")
        wait_until(lambda: page().startswith("web-"))
        before, names, made_by = pids(site), read_dns(site.layout), launcher(site)
        assert sorted(before) == list(NAMES) and names.pid is not None and not names.is_current
        with asked_all_through() as failures:
            old.end(signal.SIGTERM)
            leave_older_state(site.layout)
            assert version_of(site.layout.store) == WITHOUT_COPIES
            site.environment = present
            adopted_by_the_next(site, before, names.pid)
    assert failures == []
    with daemon(site):
        handled_by_the_next(site, before, made_by)


def adopted_by_the_next(site: Engine, before: dict[str, tuple[int, int]], names: int) -> None:
    """Nothing of theirs is begun anew but the server of their names."""
    with daemon(site):
        assert version_of(site.layout.store) == FORMAT
        said = counted(site)
        wait_until(lambda: read_dns(site.layout).is_current, 30)
        wait_until(lambda: start_time(names) is None, 30)
        wait_until(lambda: site.run("diff", "--set", "site", "site.yaml").code == 0, 30)
        wait_until(lambda: "Address" in looked_up(site).partition("web-1")[2], 30)
        wait_until(lambda: len(counted(site)) > len(said) + 10, 30)
        said = counted(site)
        assert said == list(range(len(said))), "no line is lost, and none is there twice"
        assert pids(site) == before


def handled_by_the_next(site: Engine, before: dict[str, tuple[int, int]], made_by: int) -> None:
    """Killed, replaced, stopped and deleted, by way of monitors that are of older code."""
    os.kill(before["web-1"][0], signal.SIGKILL)
    wait_until(lambda: "web-1" in pids(site) and pids(site)["web-1"] != before["web-1"], 30)
    assert launcher(site) != made_by, "an older launcher leaves when a newer one is needed"
    wait_until(lambda: start_time(made_by) is None, 30)
    replaced = (site.base / "site.yaml").read_text().replace("hostname >", "echo web-new >")
    site.write("site.yaml", replaced)
    site.ok("apply", "--set", "site", "site.yaml")
    wait_until(lambda: page() == "web-new\n")
    site.write("site.yaml", replaced.replace("  restart: always\n", "  state: stopped\n", 1))
    site.ok("apply", "--set", "site", "site.yaml")
    assert sorted(pids(site)) == ["web-1", "web-2"]
    site.ok("delete", "--set", "site")
    assert pids(site) == {}


def test_a_daemon_refuses_the_state_of_a_newer_version_says_what_to_do_and_touches_nothing(site: Engine) -> None:
    site.ok("-H", "none", "apply", "--set", "site", "site.yaml")
    before, store = pids(site), site.layout.store
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute(f"PRAGMA user_version={FORMAT + 1}")
    said = site.run("daemon")
    assert said.code == 2, said
    assert f"of a newer trimtab (format {FORMAT + 1}; this one knows {FORMAT})" in said.err, said
    assert "upgrade trimtab" in said.err and str(store) in said.err and "Traceback" not in said.err
    assert version_of(store) == FORMAT + 1
    assert pids(site) == before and page().startswith("web-")
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute(f"PRAGMA user_version={FORMAT}")
    with daemon(site):
        assert site.run("diff", "--set", "site", "site.yaml").code == 0
        assert pids(site) == before
