"""An engine for builds: a busybox image to begin with, and what it leaves taken away."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.build.build import Made, build
from reconciler.build.wanted import BuildWanted, Told
from runtime.images.ensure import ensure_image
from runtime.images.store import layer_directories
from runtime.images.wanted import ImageWanted
from runtime.kernel.namespaces import CLONE_NEWNET, setns, unshare
from runtime.layout import Layout
from runtime.process import client
from tests.conftest import cgroup_directories


@dataclass
class Builder:
    """Builds on an engine of the test's own; `told` is what the last build told."""

    layout: Layout
    context: Path
    told: list[Told] = field(default_factory=list)

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def build(self, text: str | None = None, name: str = "app", **options: object) -> Made:
        self.told.clear()
        contexts = {"": str(self.context), **options.pop("contexts", {})}  # type: ignore[dict-item]
        wanted = BuildWanted(name, contexts, text=text, **options)  # type: ignore[arg-type]
        return build(self.layout, wanted, self.told.append)

    def output(self) -> list[str]:
        return [each.text for each in self.told if each.what == "output"]

    def done(self) -> list[str]:
        """Instructions that were carried out, and not found done."""
        return [each.text.partition("] ")[2].split()[0] for each in self.told if each.what == "done"]

    def read(self, made: Made, path: str) -> str | None:
        """A file of the image, from its highest layer that has it."""
        for tree in layer_directories(self.layout, made.record):
            if (tree / path).is_file():
                return (tree / path).read_text()
        return None

    def find(self, made: Made, path: str) -> Path | None:
        for tree in layer_directories(self.layout, made.record):
            if (tree / path).exists() or (tree / path).is_symlink():
                return tree / path
        return None

    def history(self, made: Made) -> list[dict[str, object]]:
        blob = self.layout.blobs / made.record.config_digest.replace(":", "/")
        found: list[dict[str, object]] = json.loads(blob.read_bytes())["history"]
        return found


@pytest.fixture
def builder(layout: Layout, tmp_path: Path) -> Builder:
    """No image is there: for files from scratch."""
    context = tmp_path / "context"
    context.mkdir()
    return Builder(layout, context)


@pytest.fixture
def running(builder: Builder, busybox_tree: Path) -> Iterator[Builder]:
    """With the image `busybox` to run things in; its host's network is a namespace of its own."""
    ensure_image(builder.layout, ImageWanted("busybox", rootfs=busybox_tree))
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield builder
    finally:
        client.stop_launcher(builder.layout)
        setns(home, CLONE_NEWNET)
        os.close(home)
        for directory in reversed(cgroup_directories(builder.layout.cgroup("").rpartition("/")[0])):
            for child in sorted((path for path in directory.rglob("*") if path.is_dir()), reverse=True):
                child.rmdir()
            directory.rmdir()
