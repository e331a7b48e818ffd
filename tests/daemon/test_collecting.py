"""A disk that fills: images that nobody uses go by themselves, the oldest first, and nothing else does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runtime.kernel import mount
from tests.cli.conftest import shop_manifest
from tests.cli.engine import making_engine
from tests.daemon.running import daemon
from tests.daemon.test_life import SOLO, wait_until

pytestmark = pytest.mark.kernel

SETTINGS = "collect_every: 1\ncollect_above: 0.5\ncollect_until: 0.4\ncollect_age: 0s\n"


def test_the_oldest_unused_images_go_until_there_is_room(busybox_tree: Path, tmp_path: Path) -> None:
    with making_engine() as engine:
        engine.layout.root.mkdir()
        mount.mount("tmpfs", str(engine.layout.root), "tmpfs", data="size=96m")
        engine.write(
            "solo.yaml",
            shop_manifest(busybox_tree).partition("---")[0]
            + SOLO.replace("restart", "init: true, userns_mode: host, restart"),
        )
        engine.ok("-H", "none", "apply", "--set", "solo", "solo.yaml")
        for name in ("first", "second", "third"):
            tree = tmp_path / name
            tree.mkdir()
            (tree / "file").write_bytes(os.urandom(9 << 20))
            subprocess.run(["tar", "-C", str(tree), "-cf", f"{tree}.tar", "."], check=True)
            engine.ok("-H", "none", "image", "import", name, f"{tree}.tar")
        with daemon(engine, "--config", engine.write("daemon.yaml", SETTINGS)) as served:
            wait_until(lambda: "first" not in engine.ok("image", "ls", "-o", "name").lines)
            served.wait_log('"collected"')
            left = engine.ok("image", "ls", "-o", "name").lines
            assert "busybox" in left and "third" in left, left
            assert "nobody used it" in engine.ok("events", "image/first").out
            assert engine.ok("system", "fsck").code == 0
            assert engine.ok("exec", "solo", "echo", "on").out == "on\n"
