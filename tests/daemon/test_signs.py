"""Signs of life: a loop that hangs gives none, the log as people read it, and how long a directory must be quiet."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.daemon.run import _feed_watchdog
from tests.api.conftest import Asking
from tests.cli.engine import Engine
from tests.daemon.running import daemon
from tests.daemon.test_following import shop, source
from tests.daemon.test_life import solo, wait_until

pytestmark = pytest.mark.kernel

__all__ = ["shop", "solo"]


def test_a_loop_that_hangs_gives_no_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So systemd kills it after WatchdogSec: the sign comes from the loop itself, and from nobody else."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as heard:
        heard.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "40000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)

        def signs() -> int:
            count = 0
            with suppress(BlockingIOError):
                while heard.recv(100) == b"WATCHDOG=1":
                    count += 1
            return count

        async def work() -> None:
            feeding = asyncio.ensure_future(_feed_watchdog())
            async with asyncio.timeout(10):
                while not signs():
                    await asyncio.sleep(0.005)
                signs()
                time.sleep(0.5)
                assert signs() == 0
                while not signs():
                    await asyncio.sleep(0.005)
            feeding.cancel()

        asyncio.run(work())


def test_the_log_for_people_has_one_line_an_event_with_its_values(solo: Engine) -> None:
    running = solo.start("daemon", "--log", "console")
    try:
        wait_until(lambda: "ready" in running.so_far().err, 60)
        solo.ok("get")
        wait_until(lambda: "command" in running.so_far().err, 60)
        running.process.send_signal(signal.SIGTERM)
        said = running.wait()
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
    lines = said.err.splitlines()
    ready = next(line for line in lines if " ready " in line)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z \[info +\] ready ", ready), ready
    assert f"pid={running.process.pid}" in ready and f"root={solo.layout.root}" in ready
    assert "\x1b" not in said.err, "no colours where it is no terminal"
    assert any("command=get" in line and "exit=0" in line for line in lines)
    for line in lines:
        with pytest.raises(ValueError):
            json.loads(line)


def test_a_directory_is_read_only_after_it_was_quiet_for_as_long_as_is_set(shop: Engine) -> None:
    """Each write begins the wait anew: of many, one revision comes."""
    shop.environment["TRIMTAB_DAEMON_DEBOUNCE"] = "4s"
    with daemon(shop, "--source", str(shop.base / "shop")) as served:
        source(served, "Ready")
        before = len(Asking(served).ask("GET", "/v1/history?set=shop")["revisions"])
        for number in range(5):
            written = time.monotonic()
            (shop.base / "shop/solo.yaml").write_text(
                f"apiVersion: trimtab/v1\nkind: Config\nmetadata: {{name: solo}}\nspec: {{content: 'no {number}'}}\n"
            )
            time.sleep(0.1)
        wait_until(lambda: len(Asking(served).ask("GET", "/v1/history?set=shop")["revisions"]) > before, 60)
        assert time.monotonic() - written > 2, "it was not waited"
        assert len(Asking(served).ask("GET", "/v1/history?set=shop")["revisions"]) == before + 1
        described = Asking(served).ask("GET", "/v1/objects/config/solo")
        assert described["item"]["name"] == "solo"
