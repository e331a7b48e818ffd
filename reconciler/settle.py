"""After the actions: do the processes that were started go on running? A program that ends at once is told here."""

from __future__ import annotations

import time
from collections.abc import Sequence

from reconciler.apply import Outcome, Result
from reconciler.observe.containers import process_word
from reconciler.reconcile import Prepared
from runtime.process.client import read_process
from schemas.names import Key, Kind

STEADY_SECONDS = 0.1
"""How long a new process is watched: long enough to notice a bad option or a missing file."""


def unsettled(prepared: Prepared, outcomes: Sequence[Outcome], wait_seconds: float) -> dict[str, str]:
    """Object -> why it is not as wanted. Of what was acted on with success: of the rest more is known already."""
    made = [outcome.action.key for outcome in outcomes if outcome.ok and outcome.result is not Result.UNCHANGED]
    containers = [key for key in dict.fromkeys(made) if key.kind is Kind.CONTAINER and key in prepared.context.desired]
    if not containers:
        return {}
    time.sleep(min(STEADY_SECONDS, wait_seconds))
    return {str(key): why for key in containers if (why := _amiss(prepared, key)) is not None}


def _amiss(prepared: Prepared, key: Key) -> str | None:
    wanted = prepared.context.desired[key].facts["process"]
    found = process_word(read_process(prepared.context.engine.layout, key.name))
    if wanted not in ("running", "paused") or found in (wanted, "completed"):
        return None
    return f"is not {wanted}: {found or 'it has no process'}; see `trimtab logs {key.name}`"
