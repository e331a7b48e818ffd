"""One SQLite file with real transactions: its schema, its migrations, and how it is opened.

WAL with `synchronous=FULL`: a committed transaction survives a power cut. A file that SQLite calls damaged is refused,
never written over (`faults.py`).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.store.faults import store_faults
from schemas.errors import Refused

FIRST_FORMAT = """
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
ORIGINS_AND_PINS = """
ALTER TABLE revisions ADD COLUMN origins TEXT NOT NULL DEFAULT '[]';
ALTER TABLE revisions ADD COLUMN cause TEXT NOT NULL DEFAULT '';
CREATE TABLE pins (set_name TEXT PRIMARY KEY, revision INTEGER NOT NULL, commit_id TEXT NOT NULL, at REAL NOT NULL)
"""

ATTEMPTS = """
CREATE TABLE attempts (source TEXT PRIMARY KEY, last TEXT NOT NULL, good TEXT NOT NULL)
"""

CHANGES = """
CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, type TEXT NOT NULL, object TEXT NOT NULL);
CREATE TRIGGER bounded_changes AFTER INSERT ON changes BEGIN DELETE FROM changes WHERE id <= NEW.id - 10000; END;
CREATE TRIGGER written_records BEFORE INSERT ON records BEGIN INSERT INTO changes (at, type, object) VALUES (
    (julianday('now') - 2440587.5) * 86400.0, CASE WHEN EXISTS (SELECT 1 FROM records WHERE kind=NEW.kind AND
    name=NEW.name) THEN 'MODIFIED' ELSE 'ADDED' END, NEW.kind || '/' || NEW.name); END;
CREATE TRIGGER deleted_records AFTER DELETE ON records BEGIN INSERT INTO changes (at, type, object) VALUES (
    (julianday('now') - 2440587.5) * 86400.0, 'DELETED', OLD.kind || '/' || OLD.name); END;
CREATE TRIGGER asked_otherwise AFTER UPDATE OF generation ON inventory WHEN OLD.generation <> NEW.generation
    BEGIN INSERT INTO changes (at, type, object) VALUES (
    (julianday('now') - 2440587.5) * 86400.0, 'MODIFIED', NEW.kind || '/' || NEW.name); END;
CREATE TRIGGER something_happened AFTER INSERT ON events
    WHEN NEW.object <> '' AND NEW.reason NOT IN ('Created', 'Deleted')
    BEGIN INSERT INTO changes (at, type, object) VALUES (NEW.at, 'MODIFIED', NEW.object); END
"""
"""What `watch` tells of, whoever writes: `store/changes.py` reads it."""

STANDING = """
CREATE TABLE standing (
    topic TEXT NOT NULL, object TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (topic, object)
);
CREATE TRIGGER stands_newly AFTER INSERT ON standing WHEN NEW.topic = 'status' AND NEW.object LIKE '%/%'
    BEGIN INSERT INTO changes (at, type, object) VALUES (NEW.at, 'MODIFIED', NEW.object); END;
CREATE TRIGGER stands_otherwise AFTER UPDATE ON standing
    WHEN NEW.topic = 'status' AND NEW.object LIKE '%/%' AND OLD.value <> NEW.value
    BEGIN INSERT INTO changes (at, type, object) VALUES (NEW.at, 'MODIFIED', NEW.object); END
"""

ASKED = """
CREATE TABLE asked (version INTEGER NOT NULL);
INSERT INTO asked VALUES (0);
CREATE TRIGGER asked_newly AFTER INSERT ON inventory BEGIN UPDATE asked SET version = version + 1; END;
CREATE TRIGGER asked_no_longer AFTER DELETE ON inventory BEGIN UPDATE asked SET version = version + 1; END;
CREATE TRIGGER asked_differently AFTER UPDATE ON inventory
    WHEN OLD.manifest <> NEW.manifest OR OLD.set_name <> NEW.set_name
    BEGIN UPDATE asked SET version = version + 1; END
"""
"""Counts what was asked otherwise, whoever wrote it: `inventory.asked_version` reads it."""

MIGRATIONS = (FIRST_FORMAT, ORIGINS_AND_PINS, ATTEMPTS, CHANGES, STANDING, ASKED)
"""What leads from each format of the file to the next; one that was released is never edited, a new one is added."""
FORMAT = len(MIGRATIONS)


class Database:
    """One connection, for several threads. `begin()` is a transaction, one at a time, written whole or not at all."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.path = path
        self._writing = threading.RLock()
        with store_faults(path):
            self.connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self.connection.close()
                raise

    def _open(self) -> None:
        found = self._version()
        if found > FORMAT:
            raise Refused(
                f"the state file is of a newer trimtab (format {found}; this one knows {FORMAT})",
                path=str(self.path),
                hint="nothing was touched; upgrade trimtab, or give another --root",
            )
        self.path.chmod(0o600)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("PRAGMA foreign_keys=ON")
        if found == FORMAT:
            return
        with self.begin():
            version = self._version()
            for migration in MIGRATIONS[version:]:
                for statement in migration.split(";\n"):
                    self.connection.execute(statement)
            self.connection.execute(f"PRAGMA user_version={FORMAT}")

    def _version(self) -> int:
        version: int = self.connection.execute("PRAGMA user_version").fetchone()[0]
        return version

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Without `durable` no disk is waited for: a power cut may take it back, the end of this process does not.

        Begun within another of the same thread it is a part of that one, and as durable. Raises Refused and RetryLater
        as `store_faults` does.
        """
        with self._writing:
            if self.connection.in_transaction:
                yield self.connection
                return
            with self._transaction(durable=durable) as connection:
                yield connection

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        with store_faults(self.path), self._synchronous("FULL" if durable else "NORMAL"):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                # a full disk may have taken it back already
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _synchronous(self, level: str) -> Iterator[None]:
        if level == "FULL":
            yield
            return
        self.connection.execute(f"PRAGMA synchronous={level}")
        try:
            yield
        finally:
            self.connection.execute("PRAGMA synchronous=FULL")

    def close(self) -> None:
        self.connection.close()
