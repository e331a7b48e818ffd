"""The registry's one SQLite file: which repository holds what, under which tags. Opened by server and collector alike.

WAL with `synchronous=FULL`: a committed transaction survives a power cut. Names of repositories and tags are values
here and never parts of a path.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.layout import Layout
from schemas.errors import Refused, RetryLater

FORMAT = 1
SCHEMA = """
CREATE TABLE repositories (
    id INTEGER PRIMARY KEY, space TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (space, name)
);
CREATE TABLE blobs (
    repository INTEGER NOT NULL REFERENCES repositories(id), digest TEXT NOT NULL, size INTEGER NOT NULL,
    used_at REAL NOT NULL, PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX blobs_by_digest ON blobs (digest);
CREATE TABLE manifests (
    repository INTEGER NOT NULL REFERENCES repositories(id), digest TEXT NOT NULL, size INTEGER NOT NULL,
    media_type TEXT NOT NULL, artifact_type TEXT NOT NULL, annotations TEXT NOT NULL, subject TEXT NOT NULL,
    used_at REAL NOT NULL, PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX manifests_by_subject ON manifests (repository, subject) WHERE subject <> '';
CREATE TABLE needs (
    repository INTEGER NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
    is_manifest INTEGER NOT NULL, PRIMARY KEY (repository, manifest, digest),
    FOREIGN KEY (repository, manifest) REFERENCES manifests(repository, digest) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX needs_by_digest ON needs (repository, digest);
CREATE TABLE tags (
    repository INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, checked_at REAL NOT NULL,
    PRIMARY KEY (repository, name),
    FOREIGN KEY (repository, digest) REFERENCES manifests(repository, digest) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX tags_by_digest ON tags (repository, digest);
CREATE TABLE dropped (digest TEXT PRIMARY KEY) WITHOUT ROWID;
"""
"""`space` is empty for what was pushed here, else the registry that is mirrored. `dropped`: digests that were let go
of somewhere, to be swept if nothing else names them."""


class Database:
    """One connection, for one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._turn = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._told():
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, durable at the end; rolled back by an exception."""
        with self._turn, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        with self._turn:
            self._connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise fault(error, self._path) from error


def fault(error: sqlite3.Error, path: str) -> Refused | RetryLater:
    """SQLite's errors in our families: a full disk and a busy file pass, a damaged file does not."""
    kind = RetryLater if isinstance(error, sqlite3.OperationalError) else Refused
    return kind(str(error), object="registry", step="keep the catalog", path=path)


@contextmanager
def opened(layout: Layout) -> Iterator[Database]:
    """Made where there is none. Raises Refused, RetryLater."""
    layout.registry.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    path = str(layout.registry)
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
    except sqlite3.Error as error:
        raise fault(error, path) from error
    try:
        _prepare(connection, path)
        yield Database(connection, path)
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("BEGIN IMMEDIATE")
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found == 0:
            for statement in filter(str.strip, SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={FORMAT}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise fault(error, path) from error
    if found > FORMAT:
        raise Refused("was written by a newer trimtab", object="registry", step="open the catalog", path=path)
