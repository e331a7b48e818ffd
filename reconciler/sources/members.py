"""Whether the objects of a source's set stand well since it was applied. Reads the loop's word; acts on nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from reconciler.sources.status import SourceStatus, State
from reconciler.status import Health, Status
from reconciler.store.database import Database
from reconciler.store.status import read_statuses

FAILED = (Health.DEGRADED, Health.MISSING)
MOST = 5
"""Objects that are named."""


def with_members(database: Database, found: Iterable[SourceStatus]) -> list[SourceStatus]:
    """The same, but that one is not Ready of whose set an object failed since: it is Degraded, and says which."""
    return [_with_members(database, each) if each.state is State.READY else each for each in found]


def _with_members(database: Database, source: SourceStatus) -> SourceStatus:
    failed = list(failures(read_statuses(database, source.set)))
    if not failed:
        return source
    more = [f"and {len(failed) - MOST} more"] if len(failed) > MOST else []
    return replace(
        source, state=State.DEGRADED, reason="ObjectsFailed", message="\n".join([*failed[:MOST], *more]), temporary=True
    )


def failures(statuses: Mapping[str, Status]) -> Iterator[str]:
    """A sentence for each object that does not stand well. What is left alone on purpose is no failure."""
    for name, status in statuses.items():
        if status.health in FAILED and status.condition("Reconciling").reason != "Held":
            yield f"{name}: {status.condition('Ready').message}"
