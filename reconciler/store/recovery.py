"""When the state file cannot be relied upon: is it whole, do its copies know more, where a damaged one goes.

Called by `database` when it opens. A damaged file is moved aside and never deleted; what is known again is told.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.store.copies import Found, boot_id, copy_all, put_back, read_stamp

COMPANIONS = ("", "-wal", "-shm")
JSON_COLUMNS = {"records": ("fields", "asked", "needs"), "inventory": ("manifest",)}


@dataclass(frozen=True, slots=True)
class Recovery:
    """`reason`: why; `moved`: where a damaged file is now; `found`: what the copies gave back, None where there were
    none."""

    reason: str
    moved: Path | None
    found: Found | None

    def describe(self) -> str:
        """One sentence for whoever runs the engine."""
        kept = f" The old file is kept as {self.moved}." if self.moved is not None else ""
        if self.found is None:
            return f"{self.reason}, and there are no copies of what it held: it was begun anew, empty.{kept}"
        lost = f"; {self.found.unreadable} of the copies could not be read" if self.found.unreadable else ""
        return (
            f"{self.reason}. What was asked and made is known again from its copies: {self.found.objects} objects, "
            f"{self.found.sets} sets{lost}. Events, revisions and health until now are not.{kept}"
        )


def copies_of(path: Path) -> Path:
    """Where the copies of a state file stand."""
    return path.with_name("objects")


def damage_of(connection: sqlite3.Connection, *, thorough: bool) -> str | None:
    """What is wrong with the file; None where nothing shows. Raises sqlite3.DatabaseError, which says the same."""
    check = "integrity_check" if thorough else "quick_check"
    (said,) = connection.execute(f"PRAGMA {check}(1)").fetchone()
    if said != "ok":
        return str(said)
    for table, columns in JSON_COLUMNS.items() if thorough else ():
        broken = " OR ".join(f"NOT json_valid({column})" for column in columns)
        row = connection.execute(f"SELECT kind, name FROM {table} WHERE {broken}").fetchone()
        if row is not None:
            return f"what it says of {row[0]}/{row[1]} cannot be read"
    return None


def move_aside(path: Path) -> Path:
    """The damaged file, with what SQLite keeps beside it, under a name of its own."""
    name = f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside = path.with_name(name)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{name}-{number}")
    for companion in reversed(COMPANIONS):
        with suppress(FileNotFoundError):
            path.with_name(path.name + companion).rename(aside.with_name(aside.name + companion))
    return aside


def join(path: Path) -> tuple[int, bool]:
    """A descriptor that says until it is closed that somebody has the file open, and whether nobody else has.

    Who comes first looks whether the file is whole, which costs some 10 ms where it is large (flock(2)).
    """
    descriptor = _open_beside(path, "open")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor, True
    except BlockingIOError:
        return descriptor, False


def stay(descriptor: int) -> None:
    """Let others in."""
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _open_beside(path: Path, name: str) -> int:
    directory = copies_of(path)
    directory.mkdir(mode=0o700, exist_ok=True)
    return os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time judges a file and moves it (flock(2))."""
    descriptor = _open_beside(path, "lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_behind(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether store and copies disagree about which transaction was the last, or the machine was started since."""
    stamp = read_stamp(copies_of(path))
    (number,) = connection.execute("SELECT stamp FROM copied").fetchone()
    if stamp is None:
        return number > 0 or _holds_something(connection)
    return not stamp.whole or stamp.number != number or stamp.boot != boot_id()


def bring_together(connection: sqlite3.Connection, path: Path) -> tuple[Found, bool] | None:
    """Within a transaction: whichever knows more is right. What came back of the copies, and whether that was more than
    the one transaction whose commit a kill prevented; None where the store was right.

    Copies are ahead of a store that is new or has lost its newest transactions, and by one where a process was killed
    when a transaction was complete but for its commit. Those that were not whole are worth less than a store that has
    the one before.
    """
    directory = copies_of(path)
    stamp = read_stamp(directory)
    (number,) = connection.execute("SELECT stamp FROM copied").fetchone()
    if stamp is not None and stamp.number > number and (stamp.whole or stamp.number > number + 1):
        return put_back(connection, directory, stamp.number), stamp.number > number + 1
    if stamp is not None and stamp.number > number:
        connection.execute("UPDATE copied SET stamp = ?", (stamp.number,))
    copy_all(connection, directory)
    return None


def _holds_something(connection: sqlite3.Connection) -> bool:
    query = "SELECT EXISTS (SELECT 1 FROM records) OR EXISTS (SELECT 1 FROM inventory) OR EXISTS (SELECT 1 FROM leases)"
    return bool(connection.execute(query).fetchone()[0])
