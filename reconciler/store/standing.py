"""What the loop has found out and must not forget: health, restarts in a row, status, what is suspended. Bounded by the
number of objects, since each has one value of each topic.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from reconciler.store.database import Database


class Topic(StrEnum):
    HEALTH = "health"
    RESTARTS = "restarts"
    STATUS = "status"
    STEERING = "steering"
    FOLLOWED = "followed"
    ROLLOUT = "rollout"
    SOURCE = "source"
    """By the name of a source that a daemon follows."""


def write_standing(database: Database, topic: Topic, values: Mapping[str, Any]) -> None:
    """Object -> value of JSON; None takes it away. Durable when it returns. Safe from several threads."""
    if not values:
        return
    gone = [(topic.value, name) for name, value in values.items() if value is None]
    kept = [(topic.value, name, json.dumps(value), time.time()) for name, value in values.items() if value is not None]
    with database.begin() as connection:
        connection.executemany("DELETE FROM standing WHERE topic=? AND object=?", gone)
        connection.executemany(
            "INSERT INTO standing VALUES (?, ?, ?, ?) ON CONFLICT (topic, object) DO UPDATE SET "
            "value=excluded.value, at=excluded.at WHERE value IS NOT excluded.value",
            kept,
        )


def read_standing(database: Database, topic: Topic) -> dict[str, Any]:
    """Object -> value."""
    rows = database.connection.execute("SELECT object, value FROM standing WHERE topic=?", (topic.value,))
    return {name: json.loads(value) for name, value in rows}


def read_one(database: Database, topic: Topic, name: str) -> Any:
    """None where nothing is known."""
    row = database.connection.execute(
        "SELECT value FROM standing WHERE topic=? AND object=?", (topic.value, name)
    ).fetchone()
    return json.loads(row[0]) if row is not None else None
