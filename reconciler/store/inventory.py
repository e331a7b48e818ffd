"""Sets and what each of them owns: written before anything is made, so that nothing made is ever forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.store.database import Database
from schemas.names import Key, Kind

_ROW = "kind, name, set_name, file, line, commit_id, manifest"
_DROP_EMPTY_SETS = "DELETE FROM sets WHERE name NOT IN (SELECT set_name FROM inventory)"


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
    """Every object of every set."""
    rows = database.connection.execute(
        "SELECT kind, name, set_name, file, line, commit_id, manifest, generation, created_at, changed_at "
        "FROM inventory"
    )
    entries = map(_entry, rows)
    return {entry.key: entry for entry in entries}


def asked_version(database: Database) -> int:
    """Changes with everything that is asked for otherwise, by whichever connection."""
    version: int = database.connection.execute("SELECT version FROM asked").fetchone()[0]
    return version


def _entry(row: tuple[str, str, str, str, int, str, str, int, float, float]) -> Entry:
    kind, name, set_name, file, line, commit, manifest, generation, created_at, changed_at = row
    key = Key(Kind(kind), name)
    return Entry(key, set_name, file, line, commit, json.loads(manifest), generation, created_at, changed_at)


def record_set(database: Database, name: str, source: str, entries: Iterable[Entry], now: float) -> None:
    """Add or refresh a set's entries in one transaction; removes none. A changed manifest raises the generation.

    What stands there already is not written again: then there is no disk to wait for, and nothing to be noticed.
    """
    rows = [_row(name, entry) for entry in entries]
    with database.begin() as connection:
        known = set(connection.execute(f"SELECT {_ROW} FROM inventory WHERE set_name=?", (name,)))
        new = [(*row, now, now) for row in rows if row not in known]
        if not new and connection.execute("SELECT 1 FROM sets WHERE name=? AND source=?", (name, source)).fetchone():
            return
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
            new,
        )


def _row(set_name: str, entry: Entry) -> tuple[str, str, str, str, int, str, str]:
    """As `_ROW` names its columns."""
    manifest = json.dumps(entry.manifest, sort_keys=True)
    return (*_columns(entry.key), set_name, entry.file, entry.line, entry.commit, manifest)


def hand_over(database: Database, handed: Mapping[Key, Key]) -> None:
    """Give each object to the set of the one that needs it, with that one's file and line as where it comes from."""
    if not handed:
        return
    with database.begin() as connection:
        for (kind, name), (user_kind, user) in ((_columns(key), _columns(by)) for key, by in handed.items()):
            connection.execute(
                "UPDATE records SET set_name = (SELECT set_name FROM records WHERE kind=? AND name=?) "
                "WHERE kind=? AND name=?",
                (user_kind, user, kind, name),
            )
            # a replica stands in no inventory, its Service does
            connection.execute(
                "UPDATE inventory SET (set_name, file, line, commit_id) = (SELECT set_name, file, line, commit_id "
                "FROM inventory WHERE kind || '/' || name IN (SELECT ? || '/' || ? UNION SELECT owner FROM records "
                "WHERE kind=? AND name=?) ORDER BY kind = ? DESC LIMIT 1) WHERE kind=? AND name=?",
                (user_kind, user, user_kind, user, user_kind, kind, name),
            )
        connection.execute(_DROP_EMPTY_SETS)


def forget(database: Database, *keys: Key) -> None:
    """The objects are gone: their set no longer owns them."""
    if not keys:
        return
    with database.begin() as connection:
        connection.executemany("DELETE FROM inventory WHERE kind=? AND name=?", map(_columns, keys))
        connection.execute(_DROP_EMPTY_SETS)


def _columns(key: Key) -> tuple[str, str]:
    return key.kind.value, key.name


def known_sets(database: Database) -> list[str]:
    """Names of the sets that own something, or that made something which is still known."""
    query = "SELECT set_name FROM inventory UNION SELECT set_name FROM records ORDER BY set_name"
    return [name for (name,) in database.connection.execute(query) if name]


def read_sets(database: Database) -> dict[str, str]:
    """Names of the sets, and the source each was last applied from."""
    return dict(database.connection.execute("SELECT name, source FROM sets ORDER BY name"))
