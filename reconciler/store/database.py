"""One SQLite file with real transactions: its schema, its migrations, and how it is opened.

WAL with `synchronous=FULL`: a committed transaction survives a power cut. A file that SQLite calls damaged is refused,
never written over.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import Refused

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE sets (name TEXT PRIMARY KEY, source TEXT NOT NULL, applied_at REAL NOT NULL);
CREATE TABLE inventory (
    kind TEXT NOT NULL, name TEXT NOT NULL, set_name TEXT NOT NULL REFERENCES sets(name),
    file TEXT NOT NULL, line INTEGER NOT NULL, commit_id TEXT NOT NULL DEFAULT '',
    manifest TEXT NOT NULL, generation INTEGER NOT NULL DEFAULT 1,
    created_at REAL NOT NULL, changed_at REAL NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE TABLE records (
    kind TEXT NOT NULL, name TEXT NOT NULL, fields TEXT NOT NULL, asked TEXT NOT NULL, needs TEXT NOT NULL,
    owner TEXT NOT NULL, set_name TEXT NOT NULL, made_at REAL NOT NULL, PRIMARY KEY (kind, name)
);
CREATE TABLE leases (
    space TEXT NOT NULL, owner TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (space, owner), UNIQUE (space, value)
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, object TEXT NOT NULL, type TEXT NOT NULL,
    reason TEXT NOT NULL, message TEXT NOT NULL
);
CREATE INDEX events_by_object ON events (object, id);
CREATE TABLE revisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, set_name TEXT NOT NULL,
    commit_id TEXT NOT NULL DEFAULT '', manifests TEXT NOT NULL, summary TEXT NOT NULL
);
"""


class Database:
    """One connection, for several threads. `begin()` is a transaction, one at a time, written whole or not at all."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.path = path
        self._writing = threading.RLock()
        self.connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise Refused(
                f"the state file is not readable: {error}",
                step="open the store",
                path=str(path),
                hint="restore it from a copy, or move it away: objects found on the machine are then adopted again",
            ) from error

    def _open(self) -> None:
        self.path.chmod(0o600)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("PRAGMA foreign_keys=ON")
        if self._version() == SCHEMA_VERSION:
            return
        with self.begin():
            version = self._version()
            if version > SCHEMA_VERSION:
                raise Refused(
                    f"the state file is of a newer trimtab (format {version}; this one knows {SCHEMA_VERSION})",
                    path=str(self.path),
                    hint="upgrade trimtab",
                )
            if version == 0:
                for statement in SCHEMA.split(";\n"):
                    self.connection.execute(statement)
                self.connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _version(self) -> int:
        version: int = self.connection.execute("PRAGMA user_version").fetchone()[0]
        return version

    @contextmanager
    def begin(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()
