"""A daemon that kills itself: `python -m tests.daemon.killed ROOT RUN SOURCE BOUNDARY`.

Boundaries are counted before and after each action, of what its source asks and of what its loop repairs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from reconciler.daemon.run import Daemon, run_daemon
from reconciler.daemon.settings import read_settings
from runtime.layout import Layout
from tests.machine.killed import watch_until


def main(root: str, run: str, source: str, boundary: str) -> None:
    watch = watch_until(boundary)
    settings = read_settings({"source": (source,), "prune": True, "log": "json"})

    def told(daemon: Any, *happened: Any) -> None:
        watch(*happened)

    with patch("reconciler.loop.loop._unwatched", watch), patch.object(Daemon, "_tell_action", told):
        run_daemon(Layout(Path(root), Path(run)), settings, lambda: settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
