"""Whether a container whose process ended will have another attempt, for those who follow what it writes.

Only a daemon starts one; and only where the restart policy wants it and has not given up. Looks; changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from reconciler.engine import open_engine
from reconciler.lock import is_held
from reconciler.status import read_status
from reconciler.store.records import read_records_of
from reconciler.store.standing import Topic, read_one
from runtime.layout import Layout
from runtime.process.client import read_process
from runtime.process.records import Phase
from schemas.names import Key, Kind

LOOK_SECONDS = 0.5


def begins_again(layout: Layout, name: str, has_left: Callable[[], bool]) -> bool:
    """Wait for the next attempt; False where none is to come, or nobody waits any more."""
    while not has_left():
        process = read_process(layout, name)
        if process is None:
            return False
        if process.phase is not Phase.EXITED:
            return True
        failed = process.exit is None or process.exit.exit_code != 0
        if not _is_wanted_again(layout, Key(Kind.CONTAINER, name), failed=failed):
            return False
        time.sleep(LOOK_SECONDS)
    return False


def _is_wanted_again(layout: Layout, key: Key, *, failed: bool) -> bool:
    if not is_held(layout.daemon_lock):
        return False
    with open_engine(layout) as engine:
        record = next(iter(read_records_of(engine.database, {key})), None)
        told = read_one(engine.database, Topic.STATUS, str(key))
    spec = record.fields["spec"] if record is not None else {}
    if spec.get("state", "running") != "running":
        return False
    ready = read_status(told).condition("Ready") if told is not None else None
    if ready is not None and ready.reason in ("GivenUp", "Suspended"):
        return False
    policy = str(spec.get("restart") or "no").partition(":")[0]
    return policy in ("always", "unless-stopped") or (policy == "on-failure" and failed)
