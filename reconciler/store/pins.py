"""Sets that were rolled back: what their source offered then is not applied again, until it offers something new."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.store.database import Database


@dataclass(frozen=True, slots=True)
class Pin:
    """A set stays at `revision` while its source offers `commit`; `at` in seconds since the epoch."""

    set: str
    revision: int
    commit: str
    at: float


def write_pin(database: Database, pin: Pin) -> None:
    """In place of the set's earlier one."""
    with database.begin() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?)", (pin.set, pin.revision, pin.commit, pin.at)
        )


def read_pin(database: Database, set_name: str) -> Pin | None:
    """None for a set that follows its source, or has none."""
    row = database.connection.execute(
        "SELECT set_name, revision, commit_id, at FROM pins WHERE set_name=?", (set_name,)
    ).fetchone()
    return Pin(*row) if row is not None else None


def remove_pin(database: Database, set_name: str) -> None:
    """Idempotent."""
    with database.begin() as connection:
        connection.execute("DELETE FROM pins WHERE set_name=?", (set_name,))
