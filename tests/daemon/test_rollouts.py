"""A daemon that dies amid a rollout leaves nothing to be mended: the next one goes on with it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.rollouts.state import Progress
from runtime.process.client import read_process
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import daemon
from tests.daemon.test_life import wait_until
from tests.machine.probe import document
from tests.machine.test_rollouts import rollout

pytestmark = pytest.mark.kernel

NAMES = ("web-1", "web-2", "web-3")


@pytest.fixture
def engine(busybox_tree: Path) -> Iterator[Engine]:
    with making_engine() as made:
        (made.base / "flags").mkdir()
        for number in (1, 2):
            made.write(f"shop-{number}.yaml", shop(busybox_tree, made.base / "flags", number))
        yield made


def shop(tree: Path, flags: Path, number: int) -> str:
    """Healthy as soon as there is a flag of that number."""
    check = {"test": ["CMD", "test", "-e", f"/flags/{number}"], "interval": "100ms", "retries": 100_000}
    update = {"parallelism": 1, "monitor": "100ms"}
    spec = {
        "image": "busybox",
        "command": ["sleep", f"{number}000000"],
        "network_mode": "none",
        "volumes": [f"{flags}:/flags"],
        "healthcheck": check,
        "stop_grace_period": "0s",
        "deploy": {"replicas": len(NAMES), "update_config": update},
    }
    config = {"cmd": ["sh"], "env": {"PATH": "/bin"}}
    return document("Image", "busybox", rootfs=str(tree), config=config) + document("Service", "web", **spec)


def pids(engine: Engine) -> dict[str, int]:
    found = {name: read_process(engine.layout, name) for name in NAMES}
    return {name: process.pid for name, process in found.items() if process is not None and process.phase.can_exec}


def test_a_rollout_outlives_the_daemon_that_began_it(engine: Engine) -> None:
    with daemon(engine) as first:
        engine.ok("apply", "--set", "shop", "shop-1.yaml")
        before = pids(engine)
        assert set(before) == set(NAMES)
        applying = engine.start("apply", "--set", "shop", "shop-2.yaml")
        wait_until(lambda: pids(engine).get("web-1", before["web-1"]) != before["web-1"])
        wait_until(lambda: set(pids(engine)) == set(NAMES))
        first.end(signal.SIGKILL)
        applying.wait()
        assert [name for name, pid in pids(engine).items() if pid == before[name]] == ["web-2", "web-3"]
    assert rollout(engine.layout).progress is Progress.UNDER_WAY
    (engine.base / "flags/2").touch()
    with daemon(engine) as second:
        wait_until(lambda: rollout(engine.layout).progress is Progress.DONE)
        assert set(pids(engine)) == set(NAMES) and not set(pids(engine).values()) & set(before.values())
        assert engine.run("diff", "--set", "shop", "shop-2.yaml").code == 0
        second.end()


def test_an_apply_through_the_daemon_waits_for_the_rollout(engine: Engine) -> None:
    with daemon(engine):
        engine.ok("apply", "--set", "shop", "shop-1.yaml")
        before = pids(engine)
        (engine.base / "flags/2").touch()
        engine.ok("apply", "--set", "shop", "shop-2.yaml")
        assert not set(pids(engine).values()) & set(before.values())
        assert rollout(engine.layout).progress is Progress.DONE
