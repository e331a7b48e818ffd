"""One SQLite file with real transactions: its schema, its migrations, and how it is opened.

WAL with `synchronous=FULL`: a committed transaction survives a power cut. A file that is damaged is moved aside and
begun anew of its copies, as one that is lost is (`recovery.py`); one of a newer trimtab is refused.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.store.connection import Connection
from reconciler.store.copies import copy_touched, discard, watch
from reconciler.store.faults import is_damage, store_faults, suspicion_of
from reconciler.store.recovery import (
    Recovery,
    alone,
    bring_together,
    copies_of,
    damage_of,
    is_behind,
    join,
    move_aside,
    stay,
)
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

COPIED = """
CREATE TABLE copied (stamp INTEGER NOT NULL);
INSERT INTO copied VALUES (0)
"""
"""Counts the transactions of which there are copies: `store/copies.py`."""

SEALED = """
CREATE TABLE sealed (
    revision INTEGER NOT NULL, object TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL,
    PRIMARY KEY (revision, object)
)
"""
"""What of a revision stood encrypted, as it stood: `store/sealed.py`."""

MIGRATIONS = (FIRST_FORMAT, ORIGINS_AND_PINS, ATTEMPTS, CHANGES, STANDING, ASKED, COPIED, SEALED)
"""What leads from each format of the file to the next; one that was released is never edited, a new one is added."""
FORMAT = len(MIGRATIONS)


def say(sentence: str) -> None:
    """To whoever runs this process."""
    print(f"warning: {sentence}", file=sys.stderr)


class Database:
    """One connection, for several threads. `begin()` is a transaction, one at a time, written whole or not at all.

    `tell` is called with a sentence for people where the file had to be begun anew.
    """

    def __init__(self, path: Path, tell: Callable[[str], None] = say, *, thorough: bool = False) -> None:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.path = path
        self._tell = tell
        self._writing = threading.RLock()
        self._presence, self._is_first = join(path)
        try:
            with store_faults(path):
                self._connection, self._inode = self._open_sound(thorough=thorough)
        except BaseException:
            os.close(self._presence)
            raise
        stay(self._presence)
        self._is_first = False

    @property
    def connection(self) -> Connection:
        """Of the file that stands at the path now: another process may have moved a damaged one aside."""
        if not self._connection.in_transaction and self._is_stale():
            with self._writing, store_faults(self.path):
                if self._is_stale():
                    self._connection, self._inode = self._open_sound(thorough=False)
        return self._connection

    def _is_stale(self) -> bool:
        return self._connection.damaged or self._inode != _inode_of(self.path)

    def _open_sound(self, *, thorough: bool) -> tuple[Connection, int]:
        """A connection to a file that shows no damage, and the file's inode; the second attempt is at a new file."""
        suspected = suspicion_of(self.path)
        if not suspected.exists():
            try:
                return self._open(thorough=thorough)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
        with alone(self.path):
            try:
                opened = self._open(thorough=True)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                opened = self._open(thorough=False, instead_of=(str(error), move_aside(self.path)))
            suspected.unlink(missing_ok=True)
            return opened

    def _open(self, *, thorough: bool, instead_of: tuple[str, Path] | None = None) -> tuple[Connection, int]:
        connection = sqlite3.connect(
            self.path, timeout=30, isolation_level=None, check_same_thread=False, factory=Connection
        )
        connection.path = self.path
        try:
            found = self._prepare(connection)
            if (thorough or self._is_first) and (damage := damage_of(connection, thorough=thorough)) is not None:
                raise _damaged(damage)
            recovery = self._recover(connection, found, instead_of)
        except BaseException:
            connection.close()
            raise
        if recovery is not None:
            self._tell(recovery.describe())
        return connection, _inode_of(self.path)

    def _prepare(self, connection: Connection) -> int:
        """Its settings and its schema; the format it had."""
        found = _version(connection)
        if found > FORMAT:
            raise Refused(
                f"the state file is of a newer trimtab (format {found}; this one knows {FORMAT})",
                path=str(self.path),
                hint="nothing was touched; upgrade trimtab, or give another --root",
            )
        self.path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        if found < FORMAT:
            with self._transaction_of(connection):
                version = _version(connection)
                for migration in MIGRATIONS[version:]:
                    for statement in migration.split(";\n"):
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version={FORMAT}")
        return found

    def _recover(self, connection: Connection, found: int, instead_of: tuple[str, Path] | None) -> Recovery | None:
        """Bring store and copies together where they differ; what to tell of it."""
        back = None
        if is_behind(connection, self.path):
            with self._transaction_of(connection):
                if is_behind(connection, self.path):
                    back = bring_together(connection, self.path)
        if instead_of is not None:
            damage, moved = instead_of
            recovery = Recovery(f"The state file was damaged ({damage})", moved, back[0] if back is not None else None)
        elif back is not None and back[1]:
            reason = "was lost" if found == 0 else "had lost its newest transactions"
            recovery = Recovery(f"The state file {self.path} {reason}", None, back[0])
        else:
            return None
        with self._transaction_of(connection, durable=False):
            connection.execute(
                "INSERT INTO events (at, object, type, reason, message) VALUES (?, '', 'Warning', 'StateRestored', ?)",
                (time.time(), recovery.describe()),
            )
        return recovery

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Without `durable` no disk is waited for: a power cut may take it back, the end of this process does not.

        Begun within another of the same thread it is a part of that one, and as durable. Raises Refused and RetryLater
        as `store_faults` does.
        """
        with self._writing:
            connection = self.connection
            if connection.in_transaction:
                yield connection
                return
            if not connection.watched:
                watch(connection)
                connection.watched = True
            with self._transaction_of(connection, durable=durable):
                yield connection

    @contextmanager
    def _transaction_of(self, connection: Connection, *, durable: bool = True) -> Iterator[None]:
        directory = copies_of(self.path)
        copied = False
        with store_faults(self.path), _synchronous(connection, "FULL" if durable else "NORMAL"):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                copied = connection.watched and copy_touched(connection, directory)
                connection.execute("COMMIT")
            except BaseException:
                # a full disk may have taken it back already
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if copied:
                    discard(directory)
                raise

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()
        if self._presence >= 0:
            os.close(self._presence)
            self._presence = -1


@contextmanager
def _synchronous(connection: sqlite3.Connection, level: str) -> Iterator[None]:
    if level == "FULL":
        yield
        return
    connection.execute(f"PRAGMA synchronous={level}")
    try:
        yield
    finally:
        connection.execute("PRAGMA synchronous=FULL")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _inode_of(path: Path) -> int:
    """0 where there is none."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116
    except FileNotFoundError:
        return 0


def _damaged(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
