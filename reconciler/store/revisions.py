"""Every apply that changed what was asked leaves a revision: the set's manifests as they stood."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.store.database import Database


@dataclass(frozen=True, slots=True)
class Revision:
    id: int
    at: float
    set: str
    commit: str
    manifests: Sequence[Mapping[str, Any]]
    summary: str


def record_revision(
    database: Database, set_name: str, commit: str, manifests: Sequence[Mapping[str, Any]], summary: str, now: float
) -> None:
    """Record the manifests unless they equal the set's newest revision."""
    text = json.dumps(manifests, sort_keys=True)
    with database.begin() as connection:
        newest = connection.execute(
            "SELECT manifests FROM revisions WHERE set_name=? ORDER BY id DESC LIMIT 1", (set_name,)
        ).fetchone()
        if newest is None or newest[0] != text:
            connection.execute(
                "INSERT INTO revisions (at, set_name, commit_id, manifests, summary) VALUES (?, ?, ?, ?, ?)",
                (now, set_name, commit, text, summary),
            )


def read_revisions(database: Database, set_name: str) -> list[Revision]:
    rows = database.connection.execute(
        "SELECT id, at, set_name, commit_id, manifests, summary FROM revisions WHERE set_name=? ORDER BY id",
        (set_name,),
    )
    return [Revision(r[0], r[1], r[2], r[3], json.loads(r[4]), r[5]) for r in rows]
