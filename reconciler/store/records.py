"""What each object was last brought in line with: its fields, the facts asked for, what it needs, who owns it.

A record is written before its object is made, so that whatever a crash leaves half made is known by name; then the
facts tell what is missing. Objects derived from another (a Service's replicas) have records too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.store.database import Database
from schemas.names import Key, Kind


@dataclass(frozen=True, slots=True)
class Record:
    key: Key
    fields: Mapping[str, Any]
    asked: Mapping[str, Any]
    needs: tuple[Key, ...] = ()
    owner: Key | None = None
    set: str = ""
    made_at: float = 0.0


def read_records(database: Database) -> dict[Key, Record]:
    """Of every object that was made, or was about to be."""
    rows = database.connection.execute("SELECT kind, name, fields, asked, needs, owner, set_name, made_at FROM records")
    return {record.key: record for record in map(_record, rows)}


def read_records_of(database: Database, keys: Iterable[Key]) -> list[Record]:
    """Of those named; one that has none is left out."""
    rows = [
        database.connection.execute(
            "SELECT kind, name, fields, asked, needs, owner, set_name, made_at FROM records WHERE kind=? AND name=?",
            (key.kind.value, key.name),
        ).fetchone()
        for key in sorted(keys)
    ]
    return [_record(row) for row in rows if row is not None]


def read_records_owned(database: Database, owner: Key) -> list[Record]:
    """Of a Service's replicas, also of those that are not asked for any more."""
    rows = database.connection.execute(
        "SELECT kind, name, fields, asked, needs, owner, set_name, made_at FROM records WHERE owner=?", (str(owner),)
    )
    return [_record(row) for row in rows.fetchall()]


def _record(row: tuple[str, str, str, str, str, str, str, float]) -> Record:
    kind, name, fields, asked, needs, owner, set_name, made_at = row
    return Record(
        Key(Kind(kind), name),
        json.loads(fields),
        json.loads(asked),
        tuple(Key.parse(need) for need in json.loads(needs)),
        Key.parse(owner) if owner else None,
        set_name,
        made_at,
    )


def write_record(database: Database, record: Record) -> None:
    """Durable when it returns. Safe from several threads. An object that is changed stays as old as it is."""
    row = (
        *(record.key.kind.value, record.key.name, json.dumps(record.fields), json.dumps(record.asked)),
        *(json.dumps([str(need) for need in record.needs]), str(record.owner or ""), record.set, record.made_at),
    )
    with database.begin() as connection:
        connection.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET "
            "fields=excluded.fields, asked=excluded.asked, needs=excluded.needs, owner=excluded.owner, "
            "set_name=excluded.set_name",
            row,
        )


def remove_record(database: Database, key: Key) -> None:
    """After the object is gone. Idempotent."""
    with database.begin() as connection:
        connection.execute("DELETE FROM records WHERE kind=? AND name=?", (key.kind.value, key.name))
