"""Content by digest: every manifest, config and layer exactly as it was received.

Called by the registry client, the archive reader and the unpacker. A blob appears under its digest only after its
digest and size were verified and its bytes are on disk, by one rename; so a kill at any moment leaves a whole blob or
none. What a killed download had fetched stays as a partial, named by the digest it is to have, and the next writer of
that digest continues it. Does not know what a blob means, and never unpacks one.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from runtime.images.digests import digest_of, is_digest, new_hash, split_digest
from runtime.images.locks import is_same_file, lock
from runtime.layout import Layout
from schemas.errors import Refused, RetryLater

_REHASH_CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HINTS = {
    errno.EPERM: "the engine must run as root",
    errno.EACCES: "the engine must run as root",
    errno.EROFS: "the engine's root must be on a file system that can be written to",
    errno.ENOTSUP: "the engine's root must be on a file system with extended attributes: ext4, xfs, btrfs",
}
_PASSING = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)


class DigestMismatch(Refused):
    """The bytes are not the blob they were said to be. A client may fetch once more, from another mirror."""


class Keeper(Protocol):
    """Keeps what work in flight needs from being collected: told of a digest before the store is asked for it."""

    def add(self, digest: str) -> None: ...


class BlobStore:
    """The blobs of one engine. Cheap to make; threads and processes may each have their own."""

    def __init__(self, layout: Layout, keeper: Keeper | None = None) -> None:
        self._root = layout.blobs
        self._keeper = keeper

    def path(self, digest: str) -> Path:
        """Where the blob is or would be. Raises Refused for what is no digest."""
        algorithm, encoded = split_digest(digest)
        return self._root / algorithm / encoded

    def size(self, digest: str) -> int | None:
        """Bytes of the blob, or None when it is not here."""
        if self._keeper is not None:
            self._keeper.add(digest)
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is here (and has `size` bytes). Looks, does not read it."""
        found = self.size(digest)
        return found is not None and size in (None, found)

    def open(self, digest: str) -> BinaryIO:
        """The blob, for reading. Raises FileNotFoundError."""
        return self.path(digest).open("rb")

    def read(self, digest: str, limit: int) -> bytes:
        """A small blob whole, verified. Raises FileNotFoundError, Refused when longer than `limit` bytes or damaged."""
        with self.open(digest) as blob:
            content = blob.read(limit + 1)
        if len(content) > limit:
            raise Refused(f"{digest} is longer than {limit} bytes", step="read blob", path=str(self.path(digest)))
        algorithm, encoded = split_digest(digest)
        if new_hash_of(algorithm, content) != encoded:
            raise DigestMismatch(f"{digest} is damaged on disk", step="read blob", path=str(self.path(digest)))
        return content

    def add(self, content: bytes) -> str:
        """Keep `content`; returns its sha256 digest."""
        digest = digest_of(content)
        if self.has(digest, len(content)):
            return digest
        with self.write(digest, len(content)) as writer:
            writer.restart()  # a killed maker may have left a part of it, or all
            writer.write(content)
            return writer.commit()

    def write(self, digest: str | None = None, size: int | None = None) -> BlobWriter:
        """A writer of one blob, to be used as a context manager.

        With a digest, `resume_offset` bytes are already there: write what follows them, or `restart()`. Several
        writers of one digest do not disturb each other: only the first continues the partial.
        Raises RetryLater when the disk is full.
        """
        if digest is not None:
            split_digest(digest)
            if self._keeper is not None:
                self._keeper.add(digest)
        return BlobWriter(self, self._root / "partial", digest, size, self._keeper)

    def delete(self, digest: str) -> None:
        """Remove the blob and its partial; no error when there is none."""
        self.path(digest).unlink(missing_ok=True)
        (self._root / "partial" / partial_name(digest)).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Every blob that is here, in no order."""
        for algorithm in ("sha256", "sha512"):
            with suppress(FileNotFoundError):
                paths = (self._root / algorithm).iterdir()
                yield from (digest for path in paths if is_digest(digest := f"{algorithm}:{path.name}"))

    def partials(self) -> Iterator[Path]:
        """Files of unfinished downloads, running or killed."""
        with suppress(FileNotFoundError):
            yield from (self._root / "partial").iterdir()


class BlobWriter:
    """One blob on its way in. Leaving the context without `commit` keeps the partial when its digest is known."""

    def __init__(
        self, store: BlobStore, partials: Path, digest: str | None, size: int | None, keeper: Keeper | None
    ) -> None:
        self._store = store
        self._digest = digest
        self._size = size
        self._keeper = keeper
        self._algorithm = split_digest(digest)[0] if digest else "sha256"
        self._done = False
        with full_disk_is_retried(partials):
            partials.mkdir(parents=True, exist_ok=True)
            self._path, self._fd = open_partial(partials, digest)
        try:
            self._rehash()
        except BaseException:
            os.close(self._fd)
            raise
        self.resume_offset = self.offset
        """Bytes that were already here when the writer was made."""

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append. Raises DigestMismatch as soon as there are more bytes than announced, RetryLater on a full disk."""
        if self._size is not None and self.offset + len(chunk) > self._size:
            self._discard()
            raise DigestMismatch(f"{self._name} is longer than the {self._size} bytes announced", step="write blob")
        self._hash.update(chunk)
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self._discard()
            raise disk_error(error, self._path) from error
        self.offset += len(chunk)

    def restart(self) -> None:
        """Forget what was resumed: the other side sends the blob from its beginning."""
        os.ftruncate(self._fd, 0)
        self._rehash()

    def commit(self) -> str:
        """Verify, make durable, publish; returns the digest. Raises DigestMismatch (drops the bytes), RetryLater."""
        digest = f"{self._algorithm}:{self._hash.hexdigest()}"
        if self._size is not None and self.offset != self._size:
            if self.offset < self._size and self._digest:
                raise RetryLater(f"{self._name} ended after {self.offset} of {self._size} bytes", step="write blob")
            self._discard()
            raise DigestMismatch(f"{self._name} has {self.offset} bytes, not {self._size}", step="write blob")
        if self._digest not in (None, digest):
            self._discard()
            raise DigestMismatch(f"the bytes received as {self._digest} are {digest}", step="write blob")
        self._publish(digest)
        return digest

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go. The partial of a known digest stays for the next writer; anything else is removed."""
        if self._done:
            return
        if self._digest is None or self._path.name != partial_name(self._digest) or self.offset == 0:
            self._discard()
        else:
            self._release()

    @property
    def _name(self) -> str:
        return self._digest or "the blob"

    def _rehash(self) -> None:
        self._hash = new_hash(self._algorithm)
        self.offset = 0
        if self._size is not None and os.fstat(self._fd).st_size > self._size:
            os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        while chunk := os.read(self._fd, _REHASH_CHUNK):
            self._hash.update(chunk)
            self.offset += len(chunk)

    def _publish(self, digest: str) -> None:
        if self._keeper is not None:
            self._keeper.add(digest)
        target = self._store.path(digest)
        try:
            os.fsync(self._fd)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._path.rename(target)
            sync_directory(target.parent)
        except OSError as error:
            self._discard()
            raise disk_error(error, target) from error
        self._release()

    def _discard(self) -> None:
        """On a full disk and after wrong bytes alike: give the space back at once."""
        if not self._done:
            self._path.unlink(missing_ok=True)
            self._release()

    def _release(self) -> None:
        self._done = True
        os.close(self._fd)
        self._fd = -1


def partial_name(digest: str) -> str:
    """The name of a file for a digest, without a colon."""
    return digest.replace(":", "-")


def open_partial(partials: Path, digest: str | None) -> tuple[Path, int]:
    """The partial of `digest`, locked, for this writer alone; a file of its own when another writer has that one."""
    if digest is not None:
        path = partials / partial_name(digest)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if lock(fd) and is_same_file(fd, path):
            return path, fd
        os.close(fd)
    while True:
        path = partials / f"new-{os.getpid()}-{secrets.token_hex(8)}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if lock(fd) and is_same_file(fd, path):  # the collector removes what nobody has locked
            return path, fd
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Make renames into `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_durably(path: Path, content: bytes) -> None:
    """Whole or not at all, and durable when it returns. Raises RetryLater when the disk is full, Refused."""
    temporary = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.new")
    with full_disk_is_retried(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)


def new_hash_of(algorithm: str, content: bytes) -> str:
    """The hexadecimal digest."""
    hasher = new_hash(algorithm)
    hasher.update(content)
    return hasher.hexdigest()


def disk_error(error: OSError, path: Path) -> Refused | RetryLater:
    """A failed write, in our families: a full disk heals when something is removed, the rest needs somebody."""
    if error.errno in _FULL:
        return RetryLater(
            "no space is left on the disk",
            step="write",
            path=str(path),
            errno=error.errno,
            hint="free some, or remove images with `trimtab image rm`; nothing was damaged",
        )
    kind = RetryLater if error.errno in _PASSING else Refused
    hint = _HINTS.get(error.errno or 0, "")
    return kind(error.strerror or str(error), step="write", path=str(path), errno=error.errno, hint=hint)


@contextmanager
def full_disk_is_retried(path: Path) -> Iterator[None]:
    """An OSError inside becomes what `disk_error` makes of it."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error
