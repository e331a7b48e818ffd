"""What SQLite complains about, in our families: damage is refused and noted, a full disk and a busy file pass.

Faults of ours (a wrong statement, a broken constraint) stay what they are. Used where the store is opened and written.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from schemas.errors import Refused, RetryLater, TrimtabError

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM})
FIXED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
STEP = "read or write the store"


@contextmanager
def store_faults(path: Path) -> Iterator[None]:
    """Raises Refused for a damaged file or one that cannot be used, RetryLater for a full disk."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            with suppress(OSError):
                suspicion_of(path).touch(mode=0o600)
        told = _told(error, path)
        if told is None:
            raise
        raise told from error


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether SQLite says that the file itself is broken."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED


def suspicion_of(path: Path) -> Path:
    """A mark that somebody met damage: whoever opens the file next looks through all of it."""
    return path.with_name(f"{path.name}.suspect")


def _told(error: sqlite3.DatabaseError, path: Path) -> TrimtabError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if is_damage(error):
        return Refused(
            f"the state file is damaged: {error}",
            step=STEP,
            path=str(path),
            hint="try again: the file is then moved aside, and what it held is known again from its copies",
        )
    # a shared memory file that finds no space is an I/O error to SQLite
    if code == sqlite3.SQLITE_FULL or (code in PASSING | FIXED and _is_full(path.parent)):
        return RetryLater(
            "no space is left on the disk", step=STEP, path=str(path), errno=errno.ENOSPC, hint="free some"
        )
    if code in PASSING:
        return RetryLater(str(error), step=STEP, path=str(path))
    return Refused(f"the state file cannot be used: {error}", step=STEP, path=str(path)) if code in FIXED else None


def _is_full(directory: Path) -> bool:
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    return not found.f_bavail or not (found.f_favail or not found.f_files)
