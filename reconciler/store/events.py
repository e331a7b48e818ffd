"""What happened, kept and bounded: each applied action and each failure, newest last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.store.database import Database

KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """`at` in seconds since the epoch; `type` Normal or Warning, as Kubernetes has it."""

    at: float
    object: str
    type: str
    reason: str
    message: str
    id: int = 0


def record_events(database: Database, events: Iterable[Event]) -> None:
    """The newest KEPT stay."""
    rows = [(event.at, event.object, event.type, event.reason, event.message) for event in events]
    if not rows:
        return
    # waiting for the disk at each action would cost more than an event is worth
    with database.begin(durable=False) as connection:
        connection.executemany("INSERT INTO events (at, object, type, reason, message) VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (KEPT,))


def newest_event(database: Database) -> int:
    """The id of the newest; 0 before the first."""
    found = database.connection.execute("SELECT seq FROM sqlite_sequence WHERE name='events'").fetchone()
    return int(found[0]) if found is not None else 0


def read_events(database: Database, object: str | None = None, after: int = 0, last: int = 1000) -> list[Event]:
    """The newest `last` events with an id above `after`, oldest first; of one object if named."""
    where, values = "id > ?", [after]
    query = f"SELECT at, object, type, reason, message, id FROM events WHERE {where}"
    if object is not None:
        query += " AND object = ?"
    parameters = [*values, *([object] if object is not None else []), last]
    rows = database.connection.execute(f"{query} ORDER BY id DESC LIMIT ?", parameters).fetchall()
    return [Event(*row) for row in reversed(rows)]
