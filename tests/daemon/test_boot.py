"""A daemon that starts with its machine, before everything is there that its manifests stand on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import shop_manifest
from tests.cli.engine import Engine, making_engine
from tests.daemon.running import daemon
from tests.daemon.test_following import phase, source
from tests.daemon.test_life import SOLO, wait_until
from tests.loop.test_boot import make_node
from tests.machine.answering import power_off
from tests.machine.machine import Machine

pytestmark = pytest.mark.kernel

NETWORK = "---\napiVersion: trimtab/v1\nkind: Network\nmetadata: {name: front}\n"


@pytest.fixture
def site(busybox_tree: Path) -> Iterator[Engine]:
    """An engine beside a directory `site`: the container `solo`, and `late` that needs the device `node`."""
    with making_engine() as engine:
        (engine.base / "site").mkdir()
        late = SOLO.replace("name: solo", "name: late").replace(
            "0s}", f'0s, networks: [front], devices: ["{engine.base}/node:/dev/late"]}}'
        )
        manifests = shop_manifest(busybox_tree).partition("---")[0] + NETWORK + SOLO + late
        (engine.base / "site" / "all.yaml").write_text(manifests)
        yield engine


def test_a_device_that_comes_after_the_daemon_is_waited_for_and_told_by_every_command(
    site: Engine, busybox_tree: Path
) -> None:
    node = site.base / "node"
    with daemon(site, "--source", str(site.base / "site")) as served:
        told = source(served, "Stalled", message="there is no device")
        assert told["temporary"] is True and "all.yaml:" in told["problems"][0]
        make_node(node)
        source(served, "Ready")
        assert phase(site, "late") == "running"
        served.end(signal.SIGKILL)

    power_off(Machine(site.layout, busybox_tree))
    node.unlink()
    with daemon(site, "--source", str(site.base / "site")) as served:
        wait_until(lambda: phase(site, "solo") == "running", 30)
        assert source(served, "Stalled", message="there is no device")["temporary"] is True
        wait_until(lambda: "Retrying" in site.run("describe", "container/late").out, 30)
        described = site.run("describe", "container/late").out
        assert "Retrying" in described and str(node) in described, described
        why = site.run("why", "container/late").out
        assert str(node) in why, why
        make_node(node)
        source(served, "Ready")
        wait_until(lambda: phase(site, "late") == "running", 30)
        wait_until(lambda: site.run("status").code == 0, 30)
