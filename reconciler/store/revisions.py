"""Every apply that changed what was asked leaves a revision: the set's manifests as they stood, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.store.database import Database
from reconciler.store.inventory import Entry
from schemas.names import Key

BY_SOURCE = "source "
"""How the cause of a revision begins that a source has offered."""
COLUMNS = "id, at, set_name, commit_id, manifests, origins, summary, cause"


@dataclass(frozen=True, slots=True)
class Revision:
    """`id` counts over all sets; `at` in seconds since the epoch; `summary` and `cause` are for people.

    `entries` are the objects as they were asked, with file, line and commit.
    """

    id: int
    at: float
    set: str
    commit: str
    entries: tuple[Entry, ...]
    summary: str
    cause: str


def record_revision(
    database: Database,
    set_name: str,
    commit: str,
    entries: Sequence[Entry],
    summary: str,
    cause: str,
    now: float,
    *,
    anew: bool = False,
) -> None:
    """Record what was asked unless it equals the set's newest revision; `anew`: it does, but for what was encrypted."""
    manifests = json.dumps([entry.manifest for entry in entries], sort_keys=True)
    origins = json.dumps([[entry.file, entry.line, entry.commit] for entry in entries])
    with database.begin() as connection:
        newest = connection.execute(
            "SELECT manifests FROM revisions WHERE set_name=? ORDER BY id DESC LIMIT 1", (set_name,)
        ).fetchone()
        if newest is None or newest[0] != manifests or anew:
            connection.execute(
                "INSERT INTO revisions (at, set_name, commit_id, manifests, origins, summary, cause) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (now, set_name, commit, manifests, origins, summary, cause),
            )


def read_revisions(database: Database, set_name: str | None = None) -> list[Revision]:
    """Of one set, or of all; oldest first."""
    where, values = ("WHERE set_name=?", (set_name,)) if set_name is not None else ("", ())
    rows = database.connection.execute(f"SELECT {COLUMNS} FROM revisions {where} ORDER BY id", values)
    return [_revision(row) for row in rows]


def newest_cause(database: Database, set_name: str) -> str:
    """Why the set's newest revision was asked for; empty where it has none."""
    row = database.connection.execute(
        "SELECT cause FROM revisions WHERE set_name=? ORDER BY id DESC LIMIT 1", (set_name,)
    ).fetchone()
    return str(row[0]) if row is not None else ""


def read_revision(database: Database, number: int) -> Revision | None:
    """None where there is no such number."""
    row = database.connection.execute(f"SELECT {COLUMNS} FROM revisions WHERE id=?", (number,)).fetchone()
    return _revision(row) if row is not None else None


def _revision(row: tuple[int, float, str, str, str, str, str, str]) -> Revision:
    number, at, set_name, commit, manifests, origins, summary, cause = row
    asked = json.loads(manifests)
    # the first format of the store kept no origins
    places = json.loads(origins) or [("", 0, commit)] * len(asked)
    entries = tuple(
        Entry(Key.parse(f"{manifest['kind']}/{manifest['metadata']['name']}"), set_name, file, line, origin, manifest)
        for manifest, (file, line, origin) in zip(asked, places, strict=True)
    )
    return Revision(number, at, set_name, commit, entries, summary, cause)
