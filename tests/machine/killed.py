"""An apply that kills itself: `python -m tests.machine.killed ROOT RUN MANIFESTS MOMENT [--delete] [--prune]`.

The moment is a boundary, counted before and after each action, or `17ms` after the first of them. Ends with status 0
when the work was done before it came.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from reconciler.actions import Action
from reconciler.apply import Outcome, Watch
from reconciler.engine import open_engine
from reconciler.lock import engine_lock
from reconciler.prune import NO_PRUNING, Pruning
from reconciler.reconcile import Asked, carry_out, prepare
from reconciler.sources.relative import locate
from runtime.layout import Layout
from schemas.load import Text, load


def end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def watch_until(moment: str) -> Watch:
    """Ends this process at the boundary of that number, or so long after the first."""
    passed = 0

    def watch(action: Action, outcome: Outcome | None) -> None:
        nonlocal passed
        if moment == str(passed):
            end()
        if moment.endswith("ms") and not passed:
            timer = threading.Timer(float(moment.removesuffix("ms")) / 1000, end)
            timer.daemon = True
            timer.start()
        passed += 1

    return watch


def main(root: str, run: str, manifests: str, moment: str, delete: bool, prune: bool) -> int:
    layout = Layout(Path(root), Path(run))

    text = "" if delete else Path(manifests).read_text()
    declared = [locate(item) for item in load([Text("shop.yaml", text)], dict(os.environ), set="shop")]
    pruning = Pruning(enabled=True, allow_empty=delete) if delete or prune else NO_PRUNING
    with engine_lock(layout.lock), open_engine(layout) as engine:
        prepared = prepare(engine, Asked(declared, "shop", "shop.yaml", dict(os.environ), pruning))
        outcomes = carry_out(prepared, watch_until(moment), parallel=2)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], "--delete" in sys.argv, "--prune" in sys.argv))
