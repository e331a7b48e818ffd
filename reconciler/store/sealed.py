"""What stood encrypted in the manifests of each revision, encrypted as it was: for a rollback to decrypt it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.store.database import Database
from schemas.names import Key


@dataclass(frozen=True, slots=True)
class Sealed:
    """A document of SOPS's, as its author wrote it into the file `name`."""

    name: str
    document: str


def keep_sealed(database: Database, set_name: str, sealed: Mapping[Key, Sealed]) -> None:
    """With the set's newest revision."""
    if not sealed:
        return
    with database.begin() as connection:
        newest = connection.execute("SELECT max(id) FROM revisions WHERE set_name=?", (set_name,)).fetchone()[0]
        rows = [(newest, str(key), each.name, each.document) for key, each in sealed.items()]
        connection.executemany("INSERT OR REPLACE INTO sealed VALUES (?, ?, ?, ?)", rows)


def read_sealed(database: Database, set_name: str, revision: int, keys: Iterable[Key]) -> dict[Key, Sealed]:
    """Of those that were encrypted, as they stood at the revision: it may have left them as they were before."""
    rows = database.connection.execute(
        "SELECT object, name, document FROM sealed WHERE revision <= ? AND revision IN "
        "(SELECT id FROM revisions WHERE set_name=?) ORDER BY revision",
        (revision, set_name),
    )
    found = {name: Sealed(file, document) for name, file, document in rows}
    return {key: found[str(key)] for key in keys if str(key) in found}


def is_sealed_otherwise(database: Database, set_name: str, sealed: Mapping[Key, Sealed]) -> bool:
    """Whether other documents stand encrypted than at the set's newest revision."""
    if not sealed:
        return False
    newest = database.connection.execute("SELECT max(id) FROM revisions WHERE set_name=?", (set_name,)).fetchone()[0]
    before = read_sealed(database, set_name, newest or 0, sealed)
    return any(key in before and before[key].document != each.document for key, each in sealed.items())
