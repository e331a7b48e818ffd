"""What the tool itself costs: what it imports, how much of a processor it takes: the least of several runs.

Not the time on the wall: that tells how busy the machine is; `make bench` has it, row `commands`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.engine import PROGRAM, Engine, plain_environment

HEAVY = ("pydantic", "structlog", "pyroute2", "asyncio", "yaml", "rich", "sqlite3")
WATCH = f"""
import sys, json
from reconciler.cli.entry import main
try:
    main()
finally:
    sys.stderr.write(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""


def seconds(command: Sequence[str], caches: Path, tries: int = 10, enough: float = 0.0) -> float:
    """Processor time of the cheapest of at most `tries` runs; ends early below `enough`. The first fills the caches."""
    environment = plain_environment() | {"PYTHONPYCACHEPREFIX": str(caches)}
    best = float("inf")
    for number in range(tries + 1):
        run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
        best = min(best, usage.ru_utime + usage.ru_stime) if number else best
        if best <= enough:
            break
    return best


@pytest.mark.parametrize(
    "arguments", [["--help"], ["diff", "--help"], ["apply", "--help"], ["version"], ["logs", "-h"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCH, *arguments], env=plain_environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stderr) == []


@pytest.mark.parametrize("argument", ["--help", "version"])
def test_help_and_version_cost_little_more_than_the_interpreter(argument: str, tmp_path: Path) -> None:
    allowed = 1.5 * seconds([sys.executable, "-c", "pass"], tmp_path) + 0.040
    assert seconds([*PROGRAM, argument], tmp_path, tries=30, enough=allowed) <= allowed


FIVE = """\
apiVersion: trimtab/v1
kind: Image
metadata: {name: busybox}
spec: {rootfs: ROOTFS, config: {cmd: [sh]}}
---
apiVersion: trimtab/v1
kind: Network
metadata: {name: shop}
---
apiVersion: trimtab/v1
kind: Volume
metadata: {name: pages}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: db}
spec: {image: busybox, command: [sleep, "100000"], networks: [shop], volumes: ["pages:/pages"], stop_grace_period: 0s}
---
apiVersion: trimtab/v1
kind: Service
metadata: {name: web}
spec: {image: busybox, command: [sleep, "100000"], networks: [shop], stop_grace_period: 0s}
"""


@pytest.mark.kernel
def test_a_diff_of_five_converged_objects_is_cheap(engine: Engine, busybox_tree: Path) -> None:
    file = engine.write("five.yaml", FIVE.replace("ROOTFS", str(busybox_tree)))
    engine.ok("apply", file)
    assert engine.run("diff", file).code == 0
    caches = Path(os.environ.get("PYTHONPYCACHEPREFIX", engine.base / "caches"))
    # by what such a machine needs for the libraries alone: 3.3 of it, where that is 0.11 s and 0.4 s are allowed
    allowed = 4.5 * seconds([sys.executable, "-c", "import asyncio, click, pydantic.main, sqlite3, yaml"], caches)
    assert seconds(engine.command("diff", file), caches, tries=20, enough=allowed) <= allowed
