"""Which repository holds which blobs and manifests, and what its tags name: read and written, each change at once.

Called by the registry's server, in threads. A blob is read through a repository only where this says that it has it.
Bytes are the blob store's; nothing here reads or removes them.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.images.digests import is_digest
from runtime.images.hosted.database import Database
from runtime.images.hosted.described import Described

TOUCH_SECONDS = 3600.0
"""A use is written down that often, at most."""


@dataclass(frozen=True, slots=True)
class Held:
    """A manifest of a repository's."""

    digest: str
    size: int
    media_type: str
    artifact_type: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    checked_at: float = 0.0
    """When the tag that it was asked by was last compared with the registry that is mirrored."""


@dataclass(frozen=True, slots=True)
class Use:
    """A blob of a repository's: its bytes, and when it was last used, in seconds since the epoch."""

    size: int
    used_at: float
    repository: int

    @property
    def is_stale(self) -> bool:
        return time.time() - self.used_at > TOUCH_SECONDS


@dataclass(frozen=True, slots=True)
class Catalog:
    """The repositories of one space: those pushed here, or those of a registry that is mirrored."""

    database: Database
    space: str = ""

    def blob(self, name: str, digest: str) -> Use | None:
        """The blob, where the repository has it."""
        with self.database.reading() as db:
            row = db.execute(
                "SELECT size, used_at, repository FROM blobs JOIN repositories ON id = repository"
                " WHERE space = ? AND name = ? AND digest = ?",
                (self.space, name, digest),
            ).fetchone()
        return Use(*row) if row else None

    def touch_blob(self, digest: str, use: Use) -> None:
        """Note that the blob is used."""
        with self.database.writing() as db:
            values = (time.time(), use.repository, digest)
            db.execute("UPDATE blobs SET used_at = ? WHERE repository = ? AND digest = ?", values)

    def holder(self, digest: str, name: str = "") -> int | None:
        """Bytes of the blob, where the repository `name` has it; without a name, where any of this space has it."""
        named = " AND name = ?" if name else ""
        with self.database.reading() as db:
            row = db.execute(
                "SELECT blobs.size FROM blobs JOIN repositories ON id = repository"
                f" WHERE space = ? AND digest = ?{named} LIMIT 1",
                (self.space, digest, *([name] if name else [])),
            ).fetchone()
        return int(row[0]) if row else None

    def add_blob(self, name: str, digest: str, size: int) -> None:
        """The repository has the blob from now on."""
        with self.database.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO blobs (repository, digest, size, used_at) VALUES (?, ?, ?, ?)",
                (_repository(db, self.space, name), digest, size, time.time()),
            )

    def remove_blob(self, name: str, digest: str) -> bool:
        """Whether the repository had it."""
        with self.database.writing() as db:
            where = "repository = (SELECT id FROM repositories WHERE space = ? AND name = ?) AND digest = ?"
            gone = db.execute(f"DELETE FROM blobs WHERE {where}", (self.space, name, digest)).rowcount
            _drop(db, [digest] if gone else [])
            return gone > 0

    def manifest(self, name: str, pin: str) -> Held | None:
        """What the tag or digest names in the repository; noted as used."""
        named = "m.digest = ?" if is_digest(pin) else "t.name = ?"
        tagged = (
            "LEFT JOIN tags t ON 0" if is_digest(pin) else "JOIN tags t ON t.repository = id AND t.digest = m.digest"
        )
        with self.database.reading() as db:
            row = db.execute(
                "SELECT m.digest, m.size, media_type, artifact_type, annotations, t.checked_at, used_at, id"
                f" FROM repositories r JOIN manifests m ON m.repository = id {tagged}"
                f" WHERE space = ? AND r.name = ? AND {named}",
                (self.space, name, pin),
            ).fetchone()
        if row is None:
            return None
        if time.time() - row[6] > TOUCH_SECONDS:
            with self.database.writing() as db:
                values = (time.time(), row[7], row[0])
                db.execute("UPDATE manifests SET used_at = ? WHERE repository = ? AND digest = ?", values)
        return _held(row, row[5] or 0.0)

    def lacks(self, name: str, described: Described) -> list[str]:
        """Digests that the manifest needs and the repository has not."""
        with self.database.reading() as db:
            return [
                need.digest
                for need in described.needs
                if db.execute(
                    f"SELECT 1 FROM {'manifests' if need.is_manifest else 'blobs'}"
                    " WHERE repository = (SELECT id FROM repositories WHERE space = ? AND name = ?) AND digest = ?",
                    (self.space, name, need.digest),
                ).fetchone()
                is None
            ]

    def add_manifest(self, name: str, digest: str, size: int, described: Described, tags: Sequence[str] = ()) -> None:
        """The repository has the manifest, and each of the tags names it, all at once."""
        now = time.time()
        with self.database.writing() as db:
            repository = _repository(db, self.space, name)
            made = (described.media_type, described.artifact_type, json.dumps(described.annotations))
            db.execute(
                "INSERT INTO manifests (repository, digest, size, media_type, artifact_type, annotations, subject,"
                " used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET media_type = excluded.media_type,"
                " used_at = excluded.used_at",
                (repository, digest, size, *made, described.subject, now),
            )
            db.executemany(
                "INSERT OR REPLACE INTO needs (repository, manifest, digest, size, is_manifest) VALUES (?, ?, ?, ?, ?)",
                [(repository, digest, need.digest, need.size, need.is_manifest) for need in described.needs],
            )
            db.executemany(
                "INSERT INTO tags (repository, name, digest, checked_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at",
                [(repository, tag, digest, now) for tag in tags],
            )

    def remove_manifest(self, name: str, digest: str) -> bool:
        """And every tag that names it. Whether the repository had it."""
        with self.database.writing() as db:
            found = db.execute(
                "SELECT repository FROM manifests JOIN repositories ON id = repository"
                " WHERE space = ? AND name = ? AND digest = ?",
                (self.space, name, digest),
            ).fetchone()
            if found is not None:
                forget(db, found[0], digest)
            return found is not None

    def remove_tag(self, name: str, tag: str) -> bool:
        """The manifest stays. Whether there was such a tag."""
        with self.database.writing() as db:
            where = "repository = (SELECT id FROM repositories WHERE space = ? AND name = ?) AND name = ?"
            return db.execute(f"DELETE FROM tags WHERE {where}", (self.space, name, tag)).rowcount > 0

    def check_tag(self, name: str, tag: str) -> None:
        """The mirrored registry's tag still names the same."""
        with self.database.writing() as db:
            where = "repository = (SELECT id FROM repositories WHERE space = ? AND name = ?) AND name = ?"
            db.execute(f"UPDATE tags SET checked_at = ? WHERE {where}", (time.time(), self.space, name, tag))

    def needed_size(self, name: str, digest: str) -> int | None:
        """Bytes of a blob, as some manifest of the repository says."""
        with self.database.reading() as db:
            row = db.execute(
                "SELECT size FROM needs JOIN repositories ON id = repository"
                " WHERE space = ? AND name = ? AND digest = ? AND NOT is_manifest LIMIT 1",
                (self.space, name, digest),
            ).fetchone()
        return int(row[0]) if row else None

    def tags(self, name: str, after: str, most: int) -> list[str] | None:
        """Up to `most` tags that stand behind `after`, in the order of their bytes; None: no such repository."""
        with self.database.reading() as db:
            found = db.execute(
                "SELECT id FROM repositories WHERE space = ? AND name = ? AND EXISTS"
                " (SELECT 1 FROM manifests WHERE repository = id UNION ALL SELECT 1 FROM blobs WHERE repository = id)",
                (self.space, name),
            ).fetchone()
            if found is None:
                return None
            rows = db.execute(
                "SELECT name FROM tags WHERE repository = ? AND name > ? ORDER BY name LIMIT ?", (*found, after, most)
            )
            return [row[0] for row in rows]

    def repositories(self, after: str, most: int) -> list[str]:
        """Up to `most` repositories with a manifest that stand behind `after`, in the order of their bytes."""
        with self.database.reading() as db:
            rows = db.execute(
                "SELECT name FROM repositories WHERE space = ? AND name > ? AND EXISTS"
                " (SELECT 1 FROM manifests WHERE repository = id) ORDER BY name LIMIT ?",
                (self.space, after, most),
            )
            return [row[0] for row in rows]

    def referrers(self, name: str, subject: str, after: str, most: int, artifact_type: str = "") -> list[Held]:
        """Up to `most` manifests about `subject` whose digests stand behind `after`."""
        only = " AND artifact_type = ?" if artifact_type else ""
        with self.database.reading() as db:
            rows = db.execute(
                "SELECT digest, size, media_type, artifact_type, annotations FROM manifests JOIN repositories"
                f" ON id = repository WHERE space = ? AND name = ? AND subject = ? AND digest > ?{only}"
                " ORDER BY digest LIMIT ?",
                (self.space, name, subject, after, *([artifact_type] if artifact_type else []), most),
            )
            return [_held(row) for row in rows]


def _held(row: Sequence[Any], checked_at: float = 0.0) -> Held:
    digest, size, media_type, artifact_type, annotations = row[:5]
    return Held(digest, size, media_type, artifact_type, json.loads(annotations), checked_at)


def forget(db: sqlite3.Connection, repository: int, digest: str) -> None:
    """Within a transaction: the manifest and its tags go; what it needed may be swept."""
    rows = db.execute("SELECT digest FROM needs WHERE repository = ? AND manifest = ?", (repository, digest))
    _drop(db, [digest, *(row[0] for row in rows)])
    db.execute("DELETE FROM manifests WHERE repository = ? AND digest = ?", (repository, digest))


def _drop(db: sqlite3.Connection, digests: Sequence[str]) -> None:
    db.executemany("INSERT OR IGNORE INTO dropped (digest) VALUES (?)", [(digest,) for digest in digests])


def _repository(db: sqlite3.Connection, space: str, name: str) -> int:
    """Within a transaction: its number, a new one where there is none."""
    db.execute("INSERT OR IGNORE INTO repositories (space, name) VALUES (?, ?)", (space, name))
    (found,) = db.execute("SELECT id FROM repositories WHERE space = ? AND name = ?", (space, name)).fetchone()
    return int(found)
