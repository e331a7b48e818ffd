"""`logs -f` goes on with the next attempt of a container that is started again, and ends when none is to come."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import shop_manifest
from tests.cli.engine import making_engine
from tests.daemon.running import daemon

pytestmark = pytest.mark.kernel

FAILING = """\
apiVersion: trimtab/v1
kind: Container
metadata: {name: failing}
spec:
  image: busybox
  command: [sh, -c, "echo attempt; exit 3"]
  restart: on-failure:2
  network_mode: none
"""


def test_a_log_is_followed_through_restarts_until_they_are_given_up(busybox_tree: Path) -> None:
    with making_engine() as engine:
        text = shop_manifest(busybox_tree).partition("---")[0]
        path = engine.write("failing.yaml", f"{text}---\n{FAILING}")
        with daemon(engine):
            engine.run("apply", "--no-wait", "--set", "failing", path)
            assert engine.ok("logs", "-f", "failing").out == "attempt\n" * 3
        # nobody starts it again now
        assert engine.ok("logs", "-f", "failing").out == "attempt\n" * 3
