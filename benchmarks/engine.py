"""trimtab under measure: an engine of the run's own, called as its daemon would call it, warm and in this process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ground import Ground, run
from reconciler.apply import Outcome
from reconciler.engine import Engine, open_engine
from reconciler.prune import NO_PRUNING, Pruning
from reconciler.reconcile import Asked, carry_out, prepare
from reconciler.sources.relative import locate
from runtime.layout import Layout
from runtime.network.dns.process import stop_dns
from runtime.process import client
from schemas.load import Text, load

PARALLEL = 2 * (os.cpu_count() or 1)
"""Actions at once: what commands take by themselves."""
EVERYTHING = Pruning(enabled=True, allow_empty=True)


@dataclass(frozen=True, slots=True)
class Ours:
    """An open engine. A set of manifests is applied and taken away whole."""

    engine: Engine

    @property
    def layout(self) -> Layout:
        return self.engine.layout

    def apply(self, text: str, set_name: str = "bench") -> list[Outcome]:
        """Make the machine so. Raises RuntimeError when an action fails."""
        return self.carry_out(self.asked(text, set_name))

    def asked(self, text: str, set_name: str = "bench") -> Asked:
        """What `text` asks for, read as a request's would be."""
        environment = dict(os.environ)
        declared = [locate(item) for item in load([Text("bench.yaml", text)], environment, set=set_name)]
        return Asked(declared, set_name, "bench.yaml", environment, NO_PRUNING)

    def delete(self, set_name: str = "bench") -> list[Outcome]:
        """Take a whole set away."""
        return self.carry_out(Asked((), set_name, "", {}, EVERYTHING))

    def carry_out(self, asked: Asked) -> list[Outcome]:
        outcomes = carry_out(prepare(self.engine, asked), lambda action, outcome: None, PARALLEL)
        failed = [f"{outcome.action.describe()}: {outcome.error}" for outcome in outcomes if not outcome.ok]
        if failed:
            raise RuntimeError("\n".join(failed))
        return outcomes


@contextmanager
def own_engine(ground: Ground, name: str = "tt") -> Iterator[Ours]:
    """An engine with the image `busybox`; everything of it is taken away at the end."""
    disk, live = ground.directory(name)
    layout = Layout(root=disk, run=live)
    with open_engine(layout) as engine:
        ours = Ours(engine)
        try:
            ours.apply(image(ground.tree), "image")
            client.ensure_launcher(layout)
            yield ours
        finally:
            take_down(ours)


def take_down(ours: Ours) -> None:
    rows = ours.engine.database.connection.execute("SELECT DISTINCT set_name FROM records")
    for (set_name,) in sorted(rows, key=lambda row: row[0] == "image"):
        ours.delete(set_name)
    stop_dns(ours.layout)
    client.stop_launcher(ours.layout)
    if ours.layout.secrets.is_mount():
        run("umount", str(ours.layout.secrets))


def refresh(bundle: Path) -> None:
    """Empty the writable layer of a bundle, for another run of it."""
    for name in ("upper", "work"):
        shutil.rmtree(bundle / name)
        (bundle / name).mkdir()


def image(tree: Path) -> str:
    return f"""
apiVersion: trimtab/v1
kind: Image
metadata: {{name: busybox}}
spec:
  rootfs: {tree}
  config: {{cmd: [sh], env: {{PATH: /bin}}}}
"""


def network(name: str) -> str:
    return f"""
---
apiVersion: trimtab/v1
kind: Network
metadata: {{name: {name}}}
spec: {{}}
"""


def container(name: str, command: Sequence[str], *fields: str) -> str:
    """A Container with limits; `fields` are further lines of its spec."""
    lines = "".join(f"\n  {field}" for field in ("mem_limit: 64m", "cpus: 1", "pids_limit: 64", *fields))
    return f"""
---
apiVersion: trimtab/v1
kind: Container
metadata: {{name: {name}}}
spec:
  image: busybox
  command: {list(command)}{lines}
"""
