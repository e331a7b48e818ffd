"""What was tried of each source, kept so that a daemon that starts anew tries no failed revision again."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from reconciler.sources.attempts import Attempt, Memory, Result
from reconciler.store.database import Database


def read_attempts(database: Database) -> dict[str, Memory]:
    """By the source's name."""
    rows = database.connection.execute("SELECT source, last, good FROM attempts").fetchall()
    return {source: Memory(_attempt(json.loads(last)), _attempt(json.loads(good))) for source, last, good in rows}


def write_attempt(database: Database, source: str, memory: Memory) -> None:
    """Durable when it returns. Safe from several threads."""
    row = source, json.dumps(_fields(memory.last)), json.dumps(_fields(memory.good))
    with database.begin() as connection:
        connection.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?)", row)


def forget_attempts(database: Database, source: str) -> None:
    """Idempotent."""
    with database.begin() as connection:
        connection.execute("DELETE FROM attempts WHERE source=?", (source,))


def _fields(attempt: Attempt | None) -> dict[str, Any] | None:
    return asdict(attempt) if attempt is not None else None


def _attempt(fields: dict[str, Any] | None) -> Attempt | None:
    return Attempt(**{**fields, "result": Result(fields["result"])}) if fields is not None else None
