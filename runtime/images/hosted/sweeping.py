"""Frees what the registry let go of: blobs that nothing on this engine names any more.

Called by the registry's server, now and then. Looks only at what was dropped, so it is quick whatever the store holds;
`collect` sweeps the rest. Mark and sweep are one step under the store's lock, as there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from runtime.images.blobs import BlobStore
from runtime.images.collect import named_digests
from runtime.images.hosted.catalog import Catalog, forget
from runtime.images.hosted.kept import PUSH_SECONDS, hosted
from runtime.images.leases import leased, store_lock
from runtime.images.store import list_images, unreadable_records
from runtime.layout import Layout


def expire_links(catalog: Catalog) -> int:
    """Blobs that were pushed and that no manifest of their repository came to name are let go of; how many."""
    if catalog.space:
        return 0
    with catalog.database.writing() as db:
        old = (
            "used_at < ? AND NOT EXISTS (SELECT 1 FROM needs n"
            " WHERE n.repository = blobs.repository AND n.digest = blobs.digest)"
        )
        values = (time.time() - PUSH_SECONDS,)
        db.execute(f"INSERT OR IGNORE INTO dropped (digest) SELECT digest FROM blobs WHERE {old}", values)
        return db.execute(f"DELETE FROM blobs WHERE {old}", values).rowcount


@dataclass(frozen=True, slots=True)
class Untagged:
    """A manifest that no tag leads to."""

    name: str
    digest: str
    repository: int


_UNTAGGED = """
WITH RECURSIVE reached (repository, digest) AS (
    SELECT repository, digest FROM tags
    UNION SELECT n.repository, n.digest FROM reached r JOIN needs n
        ON n.repository = r.repository AND n.manifest = r.digest WHERE n.is_manifest
    UNION SELECT m.repository, m.digest FROM reached r JOIN manifests m
        ON m.repository = r.repository AND m.subject = r.digest
)
SELECT name, digest, repository FROM manifests m JOIN repositories ON id = repository
WHERE space = ? AND used_at < ? AND NOT EXISTS
    (SELECT 1 FROM reached r WHERE r.repository = m.repository AND r.digest = m.digest)
ORDER BY name, digest
"""


def untagged(catalog: Catalog, unused_seconds: float) -> list[Untagged]:
    """Manifests that no tag names, nor an index under a tag, that are about nothing so named, and that nobody has
    asked for in that time."""
    with catalog.database.reading() as db:
        rows = db.execute(_UNTAGGED, (catalog.space, time.time() - unused_seconds))
        return [Untagged(*row) for row in rows]


def forget_untagged(catalog: Catalog, unused_seconds: float) -> list[Untagged]:
    """Let go of them, all at once; which they were."""
    with catalog.database.writing() as db:
        found = untagged(catalog, unused_seconds)
        for each in found:
            forget(db, each.repository, each.digest)
            gone = (each.repository, each.repository)
            db.execute(
                "DELETE FROM blobs WHERE repository = ? AND digest IN (SELECT digest FROM dropped)"
                " AND NOT EXISTS (SELECT 1 FROM needs n WHERE n.repository = ? AND n.digest = blobs.digest)",
                gone,
            )
        return found


def bound(catalog: Catalog, most: int) -> int:
    """Let go of what was used the longest ago, until the space holds `most` bytes or less; the bytes let go of."""
    with catalog.database.writing() as db:
        rows = db.execute(
            "SELECT 1, repository, digest, size, used_at FROM blobs JOIN repositories ON id = repository"
            " WHERE space = ? UNION ALL"
            " SELECT 0, repository, digest, size, used_at FROM manifests JOIN repositories ON id = repository"
            " WHERE space = ? ORDER BY used_at",
            (catalog.space, catalog.space),
        ).fetchall()
        excess = sum({row[2]: row[3] for row in rows}.values()) - most
        gone = 0
        for is_blob, repository, digest, size, _ in rows:
            if gone >= excess:
                break
            if is_blob:
                db.execute("DELETE FROM blobs WHERE repository = ? AND digest = ?", (repository, digest))
                db.execute("INSERT OR IGNORE INTO dropped (digest) VALUES (?)", (digest,))
            else:
                forget(db, repository, digest)
            gone += size
        return gone


def sweep(layout: Layout, catalog: Catalog) -> int:
    """Remove what was dropped and nothing names; the bytes freed. Removes nothing where an image's record cannot be
    read, as `collect` does."""
    with catalog.database.reading() as db:
        dropped = [row[0] for row in db.execute("SELECT digest FROM dropped")]
    if not dropped or unreadable_records(layout):
        return 0
    store, freed = BlobStore(layout), 0
    with store_lock(layout, shared=False):
        kept = leased(layout).union(hosted(layout), *(named_digests(record) for record in list_images(layout)))
        for digest in (each for each in dropped if each not in kept):
            freed += store.size(digest) or 0
            store.delete(digest)
    with catalog.database.writing() as db:
        db.executemany("DELETE FROM dropped WHERE digest = ?", [(digest,) for digest in dropped])
    return freed
