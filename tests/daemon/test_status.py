"""`trimtab status` does not call well what is not: a source was applied, and an object of its set failed since."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.process.client import read_process
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import daemon
from tests.daemon.test_following import source
from tests.daemon.test_life import SOLO

pytestmark = pytest.mark.kernel


@pytest.fixture
def shop(busybox_tree: Path) -> Iterator[Engine]:
    with making_engine() as engine:
        directory = engine.base / "shop"
        directory.mkdir()
        (directory / "image.yaml").write_text(shop_manifest(busybox_tree).partition("---")[0])
        (directory / "solo.yaml").write_text(SOLO.replace("restart: always", 'restart: "no"'))
        yield engine


def test_a_source_of_which_an_object_failed_is_degraded_and_says_which(shop: Engine) -> None:
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        process = read_process(shop.layout, "solo")
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        assert source(served, "Degraded")["message"].startswith("Container/solo: ")
        status = shop.run("status")
        assert status.code == 1 and "Degraded" in status.out and "Container/solo: " in status.out
