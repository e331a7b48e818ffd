"""SIGKILL of the daemon at the boundaries between its actions: the next one finishes, and nobody else notices."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.process.client import read_process
from tests.chaos.deeds import flush_the_firewall, links, living
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import answers, daemon
from tests.daemon.test_following import phase, source
from tests.daemon.test_life import SOLO, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]

SOAKED = "TRIMTAB_SOAK_SECONDS" in os.environ
BOUNDARIES = range(40) if SOAKED else range(3, 4)
"""At which a daemon is killed, as long as there is something left to do there: each in `make soak`."""
KEPT = SOLO.replace("name: solo", "name: kept")
OTHER = SOLO.replace("name: solo", "name: other")
CHANGED = SOLO.replace("restart: always", "restart: always, working_dir: /tmp")


@pytest.fixture
def shop(busybox_tree: Path) -> Iterator[Engine]:
    with making_engine() as engine:
        (engine.base / "shop").mkdir()
        (engine.base / "shop" / "image.yaml").write_text(shop_manifest(busybox_tree).partition("---")[0])
        yield engine


def write(engine: Engine, *manifests: str) -> None:
    new = engine.base / "shop" / ".new"
    new.write_text("---\n".join(manifests))
    new.rename(engine.base / "shop" / "all.yaml")


def killed_at(engine: Engine, boundary: int) -> bool:
    """Whether a daemon came to that boundary, and died there; else it had no more to do."""
    layout = engine.layout
    words = [str(layout.root), str(layout.run), str(engine.base / "shop"), str(boundary)]
    process = subprocess.Popen([sys.executable, "-m", "tests.daemon.killed", *words], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if answers(layout.api_socket) and is_at_rest(engine):
                return False
            time.sleep(0.05)
        assert process.poll() == -signal.SIGKILL, process.poll()
        return True
    finally:
        process.kill()
        process.wait(10)


def is_at_rest(engine: Engine) -> bool:
    """Whether its source is applied, and nothing is to be repaired."""
    return engine.run("status").code == 0 and engine.run("diff", "--set", "shop", str(engine.base / "shop")).code == 0


def pid_of(engine: Engine, name: str) -> int | None:
    found = read_process(engine.layout, name)
    return found.pid if found is not None and found.phase.value == "running" else None


def heal(engine: Engine, *names: str) -> None:
    """A new daemon makes the machine as declared: these containers, none twice, nothing left over."""
    with daemon(engine, "--prune", "--source", str(engine.base / "shop")) as served:
        source(served, "Ready")
        wait_until(lambda: all(phase(engine, name) == "running" for name in names), 30)
        wait_until(lambda: engine.run("diff", "--set", "shop", str(engine.base / "shop")).code == 0, 30)
        assert living(engine.layout) == sorted(names)
        wait_until(lambda: len(links()) == 1 + len(names), 30)
        served.end()


def test_a_rollout_killed_between_two_actions_is_finished_by_the_next_daemon(shop: Engine) -> None:
    write(shop, KEPT, SOLO)
    heal(shop, "kept", "solo")
    kept, dead = pid_of(shop, "kept"), 0
    for boundary in BOUNDARIES:
        write(shop, KEPT, CHANGED, OTHER)
        died = killed_at(shop, boundary)
        assert pid_of(shop, "kept") == kept
        heal(shop, "kept", "solo", "other")
        assert pid_of(shop, "kept") == kept
        if not died:
            break
        dead += 1
        if boundary != BOUNDARIES[-1]:
            write(shop, KEPT, SOLO)
            heal(shop, "kept", "solo")
    assert dead


def test_a_repair_killed_between_two_actions_is_finished_by_the_next_daemon(shop: Engine) -> None:
    write(shop, KEPT, SOLO)
    heal(shop, "kept", "solo")
    kept = pid_of(shop, "kept")
    for boundary in range(8) if SOAKED else range(1, 2):
        pid = pid_of(shop, "solo")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: phase(shop, "solo") != "running")
        flush_the_firewall(shop.layout, random.Random(boundary))
        killed_at(shop, boundary)
        heal(shop, "kept", "solo")
        assert pid_of(shop, "kept") == kept
