"""Which objects changed, in order: what a client that watches is told. The number of a change is a resource version.

Written by triggers in the transaction of whatever changed, by whichever process; bounded. It names objects and never
holds what they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.store.database import Database


@dataclass(frozen=True, slots=True)
class Change:
    """`type`: ADDED, MODIFIED, DELETED, as Kubernetes has it; `at` in seconds since the epoch."""

    version: int
    at: float
    type: str
    object: str


def newest_version(database: Database) -> int:
    """0 before the first change."""
    found = database.connection.execute("SELECT seq FROM sqlite_sequence WHERE name='changes'").fetchone()
    return int(found[0]) if found is not None else 0


def read_changes(database: Database, after: int, most: int = 1000) -> list[Change] | None:
    """The changes after a version, oldest first; None where some of them are no longer kept."""
    query = "SELECT id, at, type, object FROM changes WHERE id > ? ORDER BY id LIMIT ?"
    rows = database.connection.execute(query, (after, most)).fetchall()
    if (rows[0][0] if rows else newest_version(database) + 1) > after + 1:
        return None
    return [Change(*row) for row in rows]
