"""One engine under test: manifests in as text, plans and outcomes out, and ways to look from outside."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from reconciler.actions import Plan
from reconciler.apply import Outcome
from reconciler.engine import open_engine
from reconciler.prune import NO_PRUNING, Pruning
from reconciler.reconcile import Asked, Prepared, carry_out, prepare
from reconciler.sources.relative import locate
from runtime.layout import Layout
from runtime.network.dns.process import stop_dns
from runtime.process import client
from runtime.process.records import ProcessRecord
from schemas.load import Text, load
from tests.conftest import SLOWER


class Machine:
    def __init__(self, layout: Layout, tree: Path) -> None:
        self.layout = layout
        self.file = "shop.yaml"
        """Where manifests seem to stand: relative paths count from there."""
        self.image = f"""
apiVersion: trimtab/v1
kind: Image
metadata: {{name: busybox}}
spec:
  rootfs: {tree}
  config: {{cmd: [sleep, "2147483647"], env: {{PATH: /bin}}}}
"""

    def asked(self, text: str, set_name: str = "shop", pruning: Pruning = NO_PRUNING) -> Asked:
        declared = [locate(item) for item in load([Text(self.file, text)], dict(os.environ), set=set_name)]
        return Asked(declared, set_name, self.file, dict(os.environ), pruning)

    def diff(self, text: str, set_name: str = "shop", pruning: Pruning = NO_PRUNING) -> Plan:
        with open_engine(self.layout) as engine:
            return prepare(engine, self.asked(text, set_name, pruning)).plan

    def apply(
        self, text: str, set_name: str = "shop", pruning: Pruning = NO_PRUNING, parallel: int = 4
    ) -> list[Outcome]:
        """Every outcome. The last preparation is kept in `prepared`."""
        with open_engine(self.layout) as engine:
            self.prepared: Prepared = prepare(engine, self.asked(text, set_name, pruning))
            return carry_out(self.prepared, lambda action, outcome: None, parallel)

    def converge(self, text: str, set_name: str = "shop", pruning: Pruning = NO_PRUNING) -> None:
        """Apply; everything must succeed, and nothing be left to do."""
        failed = [f"{o.action.describe()}: {o.error}" for o in self.apply(text, set_name, pruning) if not o.ok]
        assert not failed, "\n".join(failed)
        left = self.diff(text, set_name, pruning)
        assert left.empty, told(left)

    def delete(self, set_name: str = "shop") -> list[Outcome]:
        pruning = Pruning(enabled=True, allow_empty=True)
        with open_engine(self.layout) as engine:
            prepared = prepare(engine, Asked((), set_name, "", {}, pruning))
            return carry_out(prepared, lambda action, outcome: None, 4)

    def process(self, name: str) -> ProcessRecord:
        found = client.read_process(self.layout, name)
        assert found is not None
        return found

    def inside(self, name: str, *command: str) -> str:
        """What a command prints in every namespace of the container."""
        arguments = ["nsenter", "-t", str(self.process(name).pid), "-a", *command]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=20 * SLOWER, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        """Take everything down by the engine's own means, end its helpers, and look whether anything is left."""
        # a set keeps what another's containers still need: what is left after the first round goes in the next
        for _ in range(3):
            for set_name in self.sets():
                self.delete(set_name)
        for name in self.containers():
            client.delete(self.layout, name, force=True)
        stop_dns(self.layout)
        client.stop_launcher(self.layout)
        assert self.cgroups() == [], self.cgroups()
        until(lambda: self.links() == [])

    def sets(self) -> list[str]:
        with open_engine(self.layout) as engine:
            return [row[0] for row in engine.database.connection.execute("SELECT DISTINCT set_name FROM records")]

    def containers(self) -> list[str]:
        directory = self.layout.run / "containers"
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []

    def cgroups(self) -> list[str]:
        top = f"trimtab-{self.layout.engine_id}"
        # named, not searched for: other engines' cgroups come and go meanwhile
        mounts = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]
        found = [path for mount in mounts if (mount / top).is_dir() for path in (mount / top).iterdir()]
        return [str(path) for path in found if path.is_dir() and path.name != ".launcher"]

    def links(self) -> list[str]:
        lines = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
        return [line for line in lines if line.startswith("tt")]


def told(plan: Plan) -> list[str]:
    return [action.describe() for action in plan.effective]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition; it must come true in time."""
    deadline = time.monotonic() + seconds * SLOWER
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def results(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {str(outcome.action.key): outcome.result.value for outcome in outcomes}
