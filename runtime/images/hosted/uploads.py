"""Uploads under way: one file each beside the blobs, appended to until its digest is told.

Called by the registry's server. What was received survives the server: an upload is found again by its name, as long
as its file says. Bounded in number; those that nobody goes on with are dropped. An upload is written to by one request
at a time, which the server sees to.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.images.blobs import DigestMismatch, disk_error, full_disk_is_retried
from runtime.images.digests import new_hash, split_digest
from runtime.images.documents import read_document
from runtime.images.hosted.catalog import Catalog
from runtime.images.hosted.keeping import CHUNK, file_digest, keep_blob
from runtime.layout import Layout
from schemas.errors import Refused, RetryLater

if TYPE_CHECKING:
    from hashlib import _Hash

MOST = 256
IDLE_SECONDS = 3600.0
"""An upload that nobody goes on with for so long is dropped."""
ROOM_SECONDS = 60.0
"""Where there are too many, the longest idle one may go after this."""
_NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Upload:
    """One upload into `repository`; `offset`: bytes that are here."""

    def __init__(self, path: Path, repository: str, algorithm: str) -> None:
        self.repository = repository
        self.name = path.name
        self.is_busy = False
        self.used_at = time.monotonic()
        self.path = path
        self._algorithm = algorithm
        self._hash: _Hash = new_hash(algorithm)
        self.offset = 0
        self._read()

    def write(self, chunk: bytes) -> None:
        """Append. Raises RetryLater on a full disk; what has arrived stays."""
        try:
            with self.path.open("ab") as file:
                file.write(chunk)
        except OSError as error:
            self._read()
            raise disk_error(error, self.path) from error
        self._hash.update(chunk)
        self.offset += len(chunk)
        self.used_at = time.monotonic()

    def finish(self, layout: Layout, catalog: Catalog, digest: str) -> None:
        """The blob is the repository's. Raises DigestMismatch, and the bytes are gone then; RetryLater."""
        algorithm, _ = split_digest(digest)
        mine = algorithm == self._algorithm
        found = f"{algorithm}:{self._hash.hexdigest()}" if mine else file_digest(algorithm, self.path)
        if found != digest:
            self.drop()
            raise DigestMismatch(f"the bytes received as {digest} are {found}", step="upload")
        keep_blob(layout, catalog, self.repository, digest, self.path)
        self.drop()

    def drop(self) -> None:
        """Forget it, and free its bytes."""
        self.path.unlink(missing_ok=True)
        told_of(self.path).unlink(missing_ok=True)

    def _read(self) -> None:
        """What is there already, of this server or the one before."""
        self._hash, self.offset = new_hash(self._algorithm), 0
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                self._hash.update(chunk)
                self.offset += len(chunk)


class Uploads:
    """All uploads of one registry. Threads may share it."""

    def __init__(self, layout: Layout, most: int = MOST, idle_seconds: float = IDLE_SECONDS) -> None:
        self._directory = layout.blobs / "uploads"
        self._most = most
        self._idle_seconds = idle_seconds
        self._known: dict[str, Upload] = {}
        self._turn = threading.RLock()

    def begin(self, repository: str, algorithm: str = "sha256") -> Upload:
        """Raises RetryLater where there are too many."""
        with self._turn, full_disk_is_retried(self._directory):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room()
            path = self._directory / secrets.token_hex(16)
            told_of(path).write_text(json.dumps({"repository": repository, "algorithm": algorithm}))
            path.touch(mode=0o600)
            upload = self._known[path.name] = Upload(path, repository, algorithm)
        return upload

    def find(self, repository: str, name: str) -> Upload | None:
        """The upload of that name into that repository, also one from before the server began."""
        if not _NAME.fullmatch(name):
            return None
        with self._turn:
            upload = self._known.get(name) or self._found(self._directory / name)
            if upload is None or upload.repository != repository:
                return None
            self._known[name] = upload
            upload.used_at = time.monotonic()
        return upload

    def finish(self, upload: Upload, layout: Layout, catalog: Catalog, digest: str) -> None:
        """As `Upload.finish`; it is no upload any more. Found anew before that, it could be written to meanwhile."""
        try:
            upload.finish(layout, catalog, digest)
        finally:
            self._forget(upload)

    def drop(self, upload: Upload) -> None:
        """It was given up: free its bytes."""
        upload.drop()
        self._forget(upload)

    def expire(self) -> None:
        """Drop what nobody goes on with, of servers before this one, too."""
        with self._turn:
            now = time.monotonic()
            for upload in list(self._known.values()):
                if not upload.is_busy and now - upload.used_at > self._idle_seconds:
                    self.drop(upload)
            for path in self._files():
                with suppress(FileNotFoundError):
                    old = time.time() - path.stat().st_mtime > self._idle_seconds
                    if path.stem not in self._known and old:
                        path.unlink()

    def _make_room(self) -> None:
        """Counted on disk: those of a server before this one take a place, too."""
        if sum(1 for path in self._files() if not path.suffix) < self._most:
            return
        self.expire()
        idle = [each for each in self._known.values() if not each.is_busy]
        oldest = min(idle, key=lambda each: each.used_at, default=None)
        if oldest is not None and time.monotonic() - oldest.used_at > ROOM_SECONDS:
            self.drop(oldest)
        if sum(1 for path in self._files() if not path.suffix) >= self._most:
            raise RetryLater(f"{self._most} uploads are under way", step="begin upload", hint="try again in a minute")

    def _forget(self, upload: Upload) -> None:
        self._known.pop(upload.name, None)

    def _found(self, path: Path) -> Upload | None:
        try:
            told = read_document(told_of(path).read_bytes(), "upload")
            path.stat()
            return Upload(path, told.text("repository"), told.text("algorithm"))
        except (FileNotFoundError, Refused):
            return None

    def _files(self) -> list[Path]:
        with suppress(FileNotFoundError):
            return list(self._directory.iterdir())
        return []


def told_of(path: Path) -> Path:
    """The small file beside an upload's that says where it is to go."""
    return path.with_suffix(".json")
