"""Contents of Secrets and Configs: kept on the engine's tmpfs, and each container's copies of them.

Called by the reconciler. A content is never put into a record, a message or an error; what is compared is its keyed
digest. A container mounts files of a directory of its own, with the owner and mode it asked for, so that one's rights
never open another's. Where the contents come from is not decided here.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.layout import Layout
from runtime.volumes.contents_store import content_digest, ensure_store, is_mounted
from schemas.errors import Refused, RetryLater

__all__ = [
    "Projected",
    "SecretRecord",
    "content_digest",
    "ensure_secret",
    "project",
    "read_projection",
    "read_secret",
    "read_secret_content",
    "remove_projection",
    "remove_secret",
]

CONTENTS, PROJECTIONS = "contents", "containers"
MAX_CONTENT = 1 << 20
"""Bytes of one Secret or Config."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """What stands on the tmpfs: the keyed digest of the content and its size in bytes, never the content."""

    kind: str
    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Projected:
    """One file of a container: the content of `kind`/`name` as `file`, owned by ids as the container counts them."""

    kind: str
    name: str
    file: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


def ensure_secret(layout: Layout, kind: str, name: str, content: bytes) -> SecretRecord:
    """Have `content` stand on the tmpfs. Raises Refused, RetryLater."""
    path = _content_path(layout, kind, name)
    if len(content) > MAX_CONTENT:
        raise Refused(f"larger than {MAX_CONTENT >> 20} MiB", object=f"{kind}/{name}", step="keep its content")
    ensure_store(layout)
    have = read_secret(layout, kind, name)
    if have is None or have.digest != content_digest(layout, content):
        with _told(f"{kind}/{name}", "keep its content"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_name(f".{name}.{os.urandom(4).hex()}")
            _write(temporary, content, 0o600, 0, 0)
            temporary.rename(path)
    return SecretRecord(kind, name, content_digest(layout, content), len(content))


def read_secret(layout: Layout, kind: str, name: str) -> SecretRecord | None:
    """What stands there; None where nothing does, as after a reboot."""
    content = _read_content(layout, kind, name)
    return None if content is None else SecretRecord(kind, name, content_digest(layout, content), len(content))


def read_secret_content(layout: Layout, kind: str, name: str) -> bytes | None:
    """The content itself, for what the engine uses by its own hand, as a key for git; None as for `read_secret`."""
    return _read_content(layout, kind, name)


def remove_secret(layout: Layout, kind: str, name: str) -> None:
    """Take a content off the tmpfs; what containers were given stays theirs. None there is no error."""
    path = _content_path(layout, kind, name)
    if is_mounted(layout):
        path.unlink(missing_ok=True)


def project(layout: Layout, container: str, entries: Sequence[Projected], id_offset: int = 0) -> Path:
    """Have a directory with exactly these files, for the container to mount them from; its path.

    `id_offset` is added to owner and group of files and directory: the first host id of the container's user
    namespace, 0 where the mount is id-mapped (tmpfs can be since Linux 6.3) or there is none. Files that are right
    already are left alone. Raises Refused, RetryLater (a content that is not there).
    """
    directory = _projection_path(layout, container)
    ensure_store(layout)
    contents = {entry.file: _content_of(layout, container, entry) for entry in entries}
    if len(contents) != len(entries):
        raise Refused("two files of one name", object=f"Container/{container}", step="give it its secrets")
    if _is_projected(directory, entries, contents, id_offset):
        return directory
    with _told(f"Container/{container}", "give it its secrets"):
        fresh = directory.with_name(f".{container}.{os.urandom(4).hex()}")
        fresh.mkdir(mode=0o700, parents=True)
        for entry in entries:
            owner, group = entry.uid + id_offset, entry.gid + id_offset
            _write(fresh / entry.file, contents[entry.file], entry.mode, owner, group)
        os.chown(fresh, id_offset, id_offset)
        fresh.chmod(0o755)
        _discard(directory)
        fresh.rename(directory)
    return directory


def read_projection(layout: Layout, container: str) -> dict[str, str]:
    """File name -> keyed digest of what the container was given; empty where it was given nothing."""
    directory = _projection_path(layout, container)
    if not is_mounted(layout):
        return {}
    try:
        files = sorted(directory.iterdir())
    except FileNotFoundError:
        return {}
    return {path.name: content_digest(layout, path.read_bytes()) for path in files}


def remove_projection(layout: Layout, container: str) -> None:
    """Take a container's copies off the tmpfs. None there is no error."""
    directory = _projection_path(layout, container)
    if is_mounted(layout):
        _discard(directory)


def _content_of(layout: Layout, container: str, entry: Projected) -> bytes:
    if not _NAME.fullmatch(entry.file):
        raise Refused(f"{entry.file!r} cannot name a file", object=f"Container/{container}", step="give it its secrets")
    content = _read_content(layout, entry.kind, entry.name)
    if content is None:
        missing = f"the content of {entry.kind}/{entry.name} is not there"
        raise RetryLater(missing, object=f"Container/{container}", step="give it its secrets", hint="apply it again")
    return content


def _is_projected(directory: Path, entries: Sequence[Projected], contents: dict[str, bytes], id_offset: int) -> bool:
    try:
        if sorted(path.name for path in directory.iterdir()) != sorted(contents):
            return False
        return all(_is_file(directory / entry.file, entry, contents[entry.file], id_offset) for entry in entries)
    except FileNotFoundError:
        return False


def _is_file(path: Path, entry: Projected, content: bytes, id_offset: int) -> bool:
    status = path.stat()
    have = (status.st_uid, status.st_gid, status.st_mode & 0o7777)
    return have == (entry.uid + id_offset, entry.gid + id_offset, entry.mode) and path.read_bytes() == content


def _discard(directory: Path) -> None:
    """Remove a container's files. Out of its name first: a half-removed directory is never found by it."""
    gone = directory.with_name(f".{directory.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    if directory.exists():
        directory.rename(gone)
        shutil.rmtree(gone)


def _read_content(layout: Layout, kind: str, name: str) -> bytes | None:
    path = _content_path(layout, kind, name)
    if not is_mounted(layout):
        return None
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes, mode: int, uid: int, gid: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)


def _content_path(layout: Layout, kind: str, name: str) -> Path:
    for part in (kind, name):
        if not _NAME.fullmatch(part):
            raise Refused(f"{part!r} cannot name a content", step="find its content")
    return layout.secrets / CONTENTS / kind / name


def _projection_path(layout: Layout, container: str) -> Path:
    if not _NAME.fullmatch(container):
        raise Refused(f"{container!r} cannot name a container", step="give it its secrets")
    return layout.secrets / PROJECTIONS / container


@contextmanager
def _told(object: str, step: str) -> Iterator[None]:
    """Map what the tmpfs refuses; the error carries a path and an errno, never a content."""
    try:
        yield
    except OSError as error:
        hint = "remove containers or secrets that are no longer needed" if error.errno == errno.ENOSPC else ""
        raise RetryLater(
            error.strerror or "failed",
            object=object,
            step=step,
            path=str(error.filename or ""),
            errno=error.errno,
            hint=hint,
        ) from error
