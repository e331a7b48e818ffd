"""Bytes and catalog together: what was received becomes a repository's, and is found there again.

Called by the registry's server, in threads. Each change holds the store's lock, shared: so the collector sees a blob
together with the repository that names it, or neither. Bytes are durable before the catalog names them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from runtime.images.blobs import BlobStore, full_disk_is_retried, sync_directory
from runtime.images.digests import new_hash, split_digest
from runtime.images.hosted.catalog import Catalog
from runtime.images.hosted.described import Described
from runtime.images.leases import store_lock
from runtime.layout import Layout
from schemas.errors import Refused

CHUNK = 1 << 20


class Unknown(Refused):
    """A manifest needs what its repository has not. `digests`: all of it."""

    def __init__(self, digests: Sequence[str]) -> None:
        super().__init__(f"{digests[0]} is not in the repository", object="manifest", step="keep")
        self.digests = tuple(digests)


def find_blob(layout: Layout, catalog: Catalog, name: str, digest: str) -> int | None:
    """Bytes of the blob, where the repository and the disk have it; safe from the collector for a while."""
    use = catalog.blob(name, digest)
    if use is None:
        return None
    if use.is_stale:
        with store_lock(layout, shared=True):
            catalog.touch_blob(digest, use)
    return use.size if BlobStore(layout).has(digest, use.size) else None


def mount_blob(layout: Layout, catalog: Catalog, name: str, digest: str, source: str) -> bool:
    """The repository has the blob, too, if `source` has it; without a source, if any repository of the space has."""
    with store_lock(layout, shared=True):
        size = catalog.holder(digest, source)
        if size is None or not BlobStore(layout).has(digest, size):
            return False
        catalog.add_blob(name, digest, size)
    return True


def keep_blob(layout: Layout, catalog: Catalog, name: str, digest: str, file: Path) -> None:
    """Take over `file`, whose bytes were verified to be those of `digest`. Raises RetryLater on a full disk."""
    target = BlobStore(layout).path(digest)
    with full_disk_is_retried(file):
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fsync(fd)
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        target.parent.mkdir(parents=True, exist_ok=True)
        with store_lock(layout, shared=True):
            file.rename(target)
            sync_directory(target.parent)
            catalog.add_blob(name, digest, size)


def keep_manifest(
    layout: Layout,
    catalog: Catalog,
    name: str,
    digest: str,
    content: bytes,
    described: Described,
    tags: Sequence[str] = (),
    *,
    is_whole: bool = True,
) -> None:
    """The repository has the manifest, and the tags name it. Raises Unknown where it needs what is not there and
    `is_whole`, RetryLater on a full disk."""
    store = BlobStore(layout)
    with store_lock(layout, shared=True):
        if is_whole:
            _require(store, catalog, name, described)
        with store.write(digest, len(content)) as writer:
            writer.restart()
            writer.write(content)
            writer.commit()
        catalog.add_manifest(name, digest, len(content), described, tags)


def _require(store: BlobStore, catalog: Catalog, name: str, described: Described) -> None:
    lost = [need.digest for need in described.needs if not store.has(need.digest)]
    if lacking := list(dict.fromkeys((*catalog.lacks(name, described), *lost))):
        raise Unknown(lacking)


def digest_by(algorithm: str, content: bytes) -> str:
    """The digest of `content` by a registered algorithm."""
    hasher = new_hash(algorithm)
    hasher.update(content)
    return f"{algorithm}:{hasher.hexdigest()}"


def file_digest(algorithm: str, path: Path) -> str:
    """The same of a file."""
    hasher = new_hash(algorithm)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
    return f"{algorithm}:{hasher.hexdigest()}"


def is_of(digest: str, content: bytes) -> bool:
    """Whether `content` has that digest."""
    return digest_by(split_digest(digest)[0], content) == digest
