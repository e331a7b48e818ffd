"""A daemon that comes back with other clocks: as after a day asleep, or with a time namespace of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel import process as kernel_process
from runtime.process import client
from runtime.process.client import read_process
from tests.chaos.surroundings import moved_clock
from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.conftest import missing
from tests.daemon.running import daemon
from tests.daemon.test_life import wait_until

pytestmark = pytest.mark.kernel

DAY = 86_400
SITE = """\
---
apiVersion: trimtab/v1
kind: Network
metadata: {name: front}
---
apiVersion: trimtab/v1
kind: Container
metadata: {name: well}
spec:
  image: busybox
  command: [sleep, "1000000"]
  networks: [front]
  restart: always
  stop_grace_period: 0s
  healthcheck: {test: [CMD, "true"], interval: 100ms, start_period: 1h, start_interval: 100ms}
"""


class Elsewhen(Engine):
    """An engine whose programs have clocks that run ahead by so many seconds: CLOCK_BOOTTIME, CLOCK_MONOTONIC."""

    boottime = monotonic = 0

    def command(self, *arguments: str) -> list[str]:
        ahead = ["--boottime", str(self.boottime), "--monotonic", str(self.monotonic)]
        plain = super().command(*arguments)
        return ["unshare", "--time", *ahead, *plain] if self.boottime or self.monotonic else plain


@pytest.fixture
def site(busybox_tree: Path) -> Iterator[Elsewhen]:
    with making_engine() as made:
        engine = Elsewhen(made.base, made.layout)
        engine.write("site.yaml", shop_manifest(busybox_tree).partition("---")[0] + SITE)
        yield engine


def pid(engine: Engine) -> int:
    found = read_process(engine.layout, "well")
    return found.pid if found is not None and found.phase.value == "running" else 0


def condition(engine: Engine, type: str) -> bool:
    return engine.run("wait", f"--for=condition={type}", "container/well", "--timeout", "0s").code == 0


def test_a_daemon_whose_boottime_ran_ahead_knows_every_process_again(site: Elsewhen) -> None:
    site.ok("-H", "none", "apply", "--set", "site", "site.yaml")
    before = pid(site)
    for boottime, monotonic in ((2 * DAY, DAY), (0, 0)):
        site.boottime, site.monotonic = boottime, monotonic
        with daemon(site) as served:
            inside = Path(f"/proc/{served.pid}/ns/time").readlink()
            if boottime and inside == Path("/proc/self/ns/time").readlink():
                missing("execve into a new time namespace (Linux 6.3)")
            wait_until(lambda: condition(site, "Healthy"), 30)
            assert site.run("diff", "--set", "site", "site.yaml").code == 0
            assert pid(site) == before, "taken for one that is gone, it would have been started twice"
            os.kill(before, signal.SIGKILL)
            wait_until(lambda before=before: pid(site) not in (0, before), 30)  # type: ignore[misc]
            before = pid(site)
            wait_until(lambda: condition(site, "Ready"), 30)
    assert site.run("-H", "none", "diff", "--set", "site", "site.yaml").code == 0


def test_an_exit_record_tells_how_long_it_ran_whatever_the_wall_clock_did(site: Elsewhen) -> None:
    clock = moved_clock(site)
    site.ok("-H", "none", "apply", "--set", "site", "site.yaml")
    for jump in (DAY, -DAY):
        clock.write_text(str(jump))
        client.kill(site.layout, "well", signal.SIGKILL)
        ended = client.wait(site.layout, "well", 30)
        assert ended.ran is not None and 0 < ended.ran < 1000
        site.ok("-H", "none", "apply", "--set", "site", "site.yaml")


def test_the_age_of_a_process_is_the_kernels() -> None:
    started = kernel_process.start_time(os.getpid())
    assert started is not None
    first, second = kernel_process.age(started), kernel_process.age(started)
    assert 0 <= first <= second < 7 * DAY
