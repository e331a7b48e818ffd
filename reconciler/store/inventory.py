"""Sets and what each of them owns: written before anything is made, so that nothing made is ever forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.store.database import Database
from schemas.names import Key, Kind


@dataclass(frozen=True, slots=True)
class Entry:
    """One object that a set owns: where it was declared, its manifest as asked; times in seconds since the epoch."""

    key: Key
    set: str
    file: str
    line: int
    commit: str
    manifest: Mapping[str, Any]
    generation: int = 1
    created_at: float = 0.0
    changed_at: float = 0.0


def read_inventory(database: Database) -> dict[Key, Entry]:
    rows = database.connection.execute(
        "SELECT kind, name, set_name, file, line, commit_id, manifest, generation, created_at, changed_at "
        "FROM inventory"
    )
    entries = map(_entry, rows)
    return {entry.key: entry for entry in entries}


def _entry(row: tuple[str, str, str, str, int, str, str, int, float, float]) -> Entry:
    kind, name, set_name, file, line, commit, manifest, generation, created_at, changed_at = row
    key = Key(Kind(kind), name)
    return Entry(key, set_name, file, line, commit, json.loads(manifest), generation, created_at, changed_at)


def record_set(database: Database, name: str, source: str, entries: Iterable[Entry], now: float) -> None:
    """Add or refresh a set's entries in one transaction; removes none. A changed manifest raises the generation."""
    with database.begin() as connection:
        connection.execute(
            "INSERT INTO sets VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET source=excluded.source, "
            "applied_at=excluded.applied_at",
            (name, source, now),
        )
        connection.executemany(
            "INSERT INTO inventory VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?) "
            "ON CONFLICT (kind, name) DO UPDATE SET set_name=excluded.set_name, file=excluded.file, "
            "line=excluded.line, commit_id=excluded.commit_id, manifest=excluded.manifest, "
            "generation=generation + (json_extract(inventory.manifest, '$.spec') "
            "IS NOT json_extract(excluded.manifest, '$.spec')), "
            "changed_at=CASE WHEN inventory.manifest = excluded.manifest THEN inventory.changed_at "
            "ELSE excluded.changed_at END",
            [
                (
                    *(entry.key.kind.value, entry.key.name, name, entry.file, entry.line, entry.commit),
                    *(json.dumps(entry.manifest, sort_keys=True), now, now),
                )
                for entry in entries
            ],
        )


def forget(database: Database, key: Key) -> None:
    """The object is gone: its set no longer owns it, and its leases are free."""
    with database.begin() as connection:
        connection.execute("DELETE FROM inventory WHERE kind=? AND name=?", (key.kind.value, key.name))
        connection.execute("DELETE FROM sets WHERE name NOT IN (SELECT set_name FROM inventory)")


def read_sets(database: Database) -> dict[str, str]:
    """Names of the sets, and the source each was last applied from."""
    return dict(database.connection.execute("SELECT name, source FROM sets ORDER BY name"))
