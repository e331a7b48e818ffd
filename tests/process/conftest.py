"""An engine with a launcher of its own, ended by its pid; and the shortest way to run something in a container."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.layout import Layout
from runtime.process import client
from runtime.process.failure import ProcessFailed
from runtime.process.logs import read_logs
from runtime.process.records import ExitRecord
from tests.conftest import SLOWER
from tests.process.bundles import specification, write_bundle


@pytest.fixture
def engine(layout: Layout) -> Iterator[Layout]:
    """The layout of an engine whose containers and launcher are ended afterwards."""
    try:
        yield layout
    finally:
        containers = layout.run / "containers"
        for live in containers.iterdir() if containers.exists() else ():
            with contextlib.suppress(ProcessFailed, TimeoutError):
                client.delete(layout, live.name, force=True)
        client.stop_launcher(layout)


class Box:
    """Makes containers of one engine on the busybox tree."""

    def __init__(self, layout: Layout, tree: Path) -> None:
        self.layout = layout
        self.tree = tree

    def write(self, name: str, spec: dict[str, Any], log: str = "local") -> Path:
        return write_bundle(self.layout, name, self.tree, spec, log)

    def begin(self, name: str, spec: dict[str, Any], log: str = "local") -> None:
        """Write a bundle, create and start it."""
        self.write(name, spec, log)
        client.create(self.layout, name)
        client.start(self.layout, name)

    def run(self, spec: dict[str, Any], name: str = "one", timeout: float = 20.0) -> tuple[ExitRecord, str]:
        """Run a container to its end and remove it: its exit record and what it wrote, both streams together."""
        self.begin(name, spec)
        record = client.wait(self.layout, name, timeout * SLOWER)
        client.delete(self.layout, name)
        return record, self.output(name)

    def shell(self, script: str, name: str = "one", **process: Any) -> str:
        """What a shell script writes in a container with everything on. It must succeed."""
        record, text = self.run(specification("sh", "-ec", script, **process), name)
        assert record.exit_code == 0, (record, text)
        return text

    def output(self, name: str) -> str:
        """What a container has written so far, both streams together."""
        return "".join(f"{line.text}\n" for line in read_logs(self.layout.container_log(name)))


@pytest.fixture
def box(engine: Layout, busybox_tree: Path) -> Box:
    """A maker of containers."""
    return Box(engine, busybox_tree)
