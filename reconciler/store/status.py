"""The status of objects as the loop wrote it last, and of sets and the engine as the worst of theirs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from reconciler.status import Health, Status, Sync, read_status, together
from reconciler.store.database import Database
from reconciler.store.standing import Topic, read_standing, write_standing


@dataclass(frozen=True, slots=True)
class Together:
    """Of a set, or of the engine: how many objects have a status, and the worst of sync and health among them."""

    objects: int
    ready: int
    sync: Sync
    health: Health


def read_statuses(database: Database, set_name: str | None = None) -> dict[str, Status]:
    """By object (`Container/db`), of one set or of all; empty while no loop has looked."""
    told = read_standing(database, Topic.STATUS)
    if set_name is not None:
        query = (
            "SELECT kind || '/' || name FROM records WHERE set_name=? UNION SELECT kind || '/' || name FROM inventory "
        )
        rows = database.connection.execute(f"{query}WHERE set_name=?", (set_name, set_name))
        own = {name for (name,) in rows}
        told = {name: value for name, value in told.items() if name in own}
    return {name: read_status(value) for name, value in sorted(told.items())}


def read_together(database: Database, set_name: str | None = None) -> Together:
    """Of the set, or of the engine as a whole. Unknown while no loop has looked."""
    found = read_statuses(database, set_name)
    if not found:
        return Together(0, 0, Sync.UNKNOWN, Health.UNKNOWN)
    sync, health = together(found.values())
    ready = sum(1 for status in found.values() if status.condition("Ready").status == "True")
    return Together(len(found), ready, sync, health)


def forget_unready(database: Database, names: Collection[str]) -> None:
    """What was said of objects that were not ready is over, since somebody has brought them in line meanwhile."""
    query = """SELECT object FROM standing WHERE topic=? AND value LIKE '%"type": "Ready", "status": "False"%'"""
    unready = {name for (name,) in database.connection.execute(query, (Topic.STATUS.value,))}
    write_standing(database, Topic.STATUS, dict.fromkeys(unready.intersection(names)))
