"""A fork bomb and memory hogs, applied as manifests: they stay inside their limits, it is told, `delete` ends them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel import cgroup
from runtime.process import client
from tests.cli.engine import Engine, making_engine
from tests.conftest import SLOWER, cgroup_directories
from tests.machine.machine import until
from tests.machine.probe import container, document

pytestmark = pytest.mark.kernel

TASKS = 40
BOMB = "sh -c 'while :; do sh -c \"while :; do sleep 1000 & done\"; done' & exec sleep 1000000"
HOG = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
QUIET = {"network_mode": "none", "stop_grace_period": 0}


@pytest.fixture(scope="module")
def engine(busybox_tree: Path) -> Iterator[Engine]:
    """With the image `busybox`, and a container `neighbour` that minds its own business."""
    with making_engine() as made:
        image = document("Image", "busybox", rootfs=str(busybox_tree), config={"env": {"PATH": "/bin"}})
        made.write("base.yaml", image + container("neighbour", command=["sleep", "1000000"], **QUIET))
        made.ok("apply", "--set", "base", "base.yaml")
        yield made


def report(engine: Engine, name: str) -> dict[str, Any]:
    (item,) = json.loads(engine.ok("get", f"container/{name}", "-o", "json").out)["items"]
    return dict(item)


def expect_others_well(engine: Engine) -> None:
    """The host forks and has memory, and the neighbour is who it was and answers."""
    assert subprocess.run(["true"], timeout=10 * SLOWER, check=True).returncode == 0
    assert engine.ok("exec", "neighbour", "echo", "well").out == "well\n"
    assert report(engine, "neighbour")["health"] == "Healthy"


def test_a_fork_bomb_stays_inside_its_limit_and_goes_with_delete(engine: Engine) -> None:
    bomb = container("bomb", command=["sh", "-c", BOMB], pids_limit=TASKS, cpus=0.3, **QUIET)
    engine.write("bomb.yaml", bomb)
    neighbour = client.read_process(engine.layout, "neighbour")
    engine.ok("apply", "--set", "bomb", "bomb.yaml")
    path = engine.layout.cgroup("bomb")
    until(lambda: len(cgroup.processes(path)) >= TASKS - 2)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert len(cgroup.processes(path)) <= TASKS
    expect_others_well(engine)
    assert report(engine, "bomb")["process"]["phase"] == "running"

    before = time.monotonic()
    engine.ok("delete", "--set", "bomb")
    assert time.monotonic() - before < 15 * SLOWER
    assert cgroup_directories(path) == []
    assert client.read_process(engine.layout, "neighbour") == neighbour


def test_memory_hogs_are_ended_inside_their_limits_and_told_so_and_go_with_delete(engine: Engine) -> None:
    """One is pid 1 itself, the other runs below an init of ours."""
    hogs = {"hog": False, "reaped-hog": True}
    limits = {"mem_limit": "32m", "memswap_limit": "32m"}
    engine.write(
        "hogs.yaml",
        "".join(
            container(name, command=["sh", "-c", HOG], init=init, **limits, **QUIET) for name, init in hogs.items()
        ),
    )
    neighbour = client.read_process(engine.layout, "neighbour")
    said = engine.run("apply", "--set", "hogs", "hogs.yaml")
    assert said.code in (0, 1), said
    for name in hogs:
        ended = client.wait(engine.layout, name, 20 * SLOWER)
        assert (ended.exit_code, ended.signal, ended.oom_killed) == (137, 9, True), name
        told = report(engine, name)
        assert told["health"] == "Degraded"
        assert told["status"].startswith("exited 137 ") and told["status"].endswith("(out of memory)")
        assert told["process"]["exit"]["oom_killed"] and told["facts"]["process"] == "killed: out of memory"
    described = engine.ok("describe", "container/hog").out
    assert "oom_killed" in described and "killed: out of memory" in described, described
    expect_others_well(engine)

    engine.ok("delete", "--set", "hogs")
    for name in hogs:
        assert cgroup_directories(engine.layout.cgroup(name)) == []
        assert not (engine.layout.root / "containers" / name).exists()
    assert client.read_process(engine.layout, "neighbour") == neighbour
