"""An apply that kills itself: `python -m tests.machine.killed ROOT RUN MANIFESTS BOUNDARY [--delete]`.

Boundaries are counted before and after each action. Ends with status 0 when the work was done before the boundary came.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from reconciler.actions import Action
from reconciler.apply import Outcome
from reconciler.engine import open_engine
from reconciler.lock import engine_lock
from reconciler.prune import NO_PRUNING, Pruning
from reconciler.reconcile import Asked, carry_out, prepare
from reconciler.sources.relative import locate
from runtime.layout import Layout
from schemas.load import Text, load


def main(root: str, run: str, manifests: str, boundary: int, delete: bool) -> int:
    layout = Layout(Path(root), Path(run))
    passed = 0

    def watch(action: Action, outcome: Outcome | None) -> None:
        nonlocal passed
        if passed == boundary:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    text = "" if delete else Path(manifests).read_text()
    declared = [locate(item) for item in load([Text("shop.yaml", text)], dict(os.environ), set="shop")]
    pruning = Pruning(enabled=True, allow_empty=True) if delete else NO_PRUNING
    with engine_lock(layout.lock), open_engine(layout) as engine:
        prepared = prepare(engine, Asked(declared, "shop", "shop.yaml", dict(os.environ), pruning))
        outcomes = carry_out(prepared, watch, parallel=2)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), "--delete" in sys.argv))
