"""How a Source object stands: the word of the daemon that follows it, as that noted it in the store."""

from __future__ import annotations

from reconciler.cli.seen import Seen
from reconciler.cli.standing import Standing
from reconciler.engine import Engine
from reconciler.lock import is_held
from reconciler.sources.members import with_members
from reconciler.sources.standing import read_noted, status_of_source
from reconciler.sources.status import SourceStatus, State
from reconciler.status import Health, Status
from reconciler.store.standing import Topic, read_one
from reconciler.store.status import read_statuses

NOBODY = "no daemon runs that would follow it"


def seen_source(engine: Engine, seen: Seen) -> Status:
    """In conditions."""
    generation = seen.entry.generation if seen.entry is not None else 1
    found = followed_now(engine, seen.key.name)
    return status_of_source(found, read_statuses(engine.database, found.set).values(), generation)


def source_standing(engine: Engine, seen: Seen) -> Standing:
    """In two words: health, and for people."""
    found = followed_now(engine, seen.key.name)
    if found.state is State.STARTING and found.message:
        return Standing(Health.UNKNOWN, found.message)
    status = seen_source(engine, seen)
    first = found.message.partition("\n")[0]
    return Standing(status.health, f"{found.state.value}: {first}" if first else found.state.value)


def followed_now(engine: Engine, name: str) -> SourceStatus:
    """As the daemon noted it; Starting where nobody has yet."""
    value = read_one(engine.database, Topic.SOURCE, name)
    if not is_held(engine.layout.daemon_lock):
        return SourceStatus(name, name, "", State.STARTING, NOBODY, "NotFollowed")
    if value is None:
        return SourceStatus(name, name, "", State.STARTING)
    (found,) = with_members(engine.database, [read_noted(value)])
    return found
