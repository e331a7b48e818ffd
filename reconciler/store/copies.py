"""What the store must not lose, once more as small files beside it: what was asked and made, what was given out.

Written by every transaction that changes any of it, before that is committed, by whoever has the store open; read where
the store is lost, damaged, or behind. Files by object, each with a checksum: one that is broken costs that object. No
disk is waited for: after a power cut the store itself, which does wait, writes them anew.

`stamp` counts those transactions, in the store and in a file here. The file says first that number N is being written,
then that it is whole: a copy of a transaction that never came to its end is never taken for one.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FORMAT = 1
"""Of the files."""

GROUPED = {
    "sets": (),
    "inventory": ("kind", "name"),
    "records": ("kind", "name"),
    "leases": ("space",),
    "pins": (),
    "attempts": (),
    "standing": ("topic",),
}
"""Table -> the columns whose values share a file. Sets come first, since inventories refer to them."""
OF_STANDING = "topic IN ('steering', 'followed')"
"""What people have suspended, and what is followed for whom; the rest is found out again."""
BOOT = Path("/proc/sys/kernel/random/boot_id")

Group = tuple[str, str, str]
"""Table, and the values of its grouping columns; empty where it has fewer."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """`number` of the transaction; whether its files are whole; `boot` of the machine when it was written."""

    number: int
    whole: bool
    boot: str


@dataclass(frozen=True, slots=True)
class Found:
    """What came back: objects with a record, sets, and how many files could not be read."""

    objects: int
    sets: int
    unreadable: int


@cache
def boot_id() -> str:
    """Of this run of the machine (random(4))."""
    return BOOT.read_text().strip()


def watch(connection: sqlite3.Connection) -> None:
    """Have this connection note which groups it changes, in a table of its own."""
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("CREATE TEMP TABLE touched (name, a, b)")
    for table, columns in GROUPED.items():
        for event, rows in (("INSERT", ("NEW",)), ("UPDATE", ("OLD", "NEW")), ("DELETE", ("OLD",))):
            when = f"WHEN {rows[0]}.{OF_STANDING}" if table == "standing" else ""
            notes = "".join(f"INSERT INTO touched VALUES ('{table}', {_values(columns, r)}); " for r in rows)
            name = f"touched_{table}_{event.lower()}"
            connection.execute(f"CREATE TEMP TRIGGER {name} AFTER {event} ON main.{table} {when} BEGIN {notes} END")


def _values(columns: tuple[str, ...], row: str) -> str:
    return ", ".join([*(f"{row}.{column}" for column in columns), "''", "''"][:2])


def copy_touched(connection: sqlite3.Connection, directory: Path) -> bool:
    """Within a transaction that is about to be committed: bring the files of what it changed in line; whether it
    changed anything. Files that cannot be written cost no transaction: the stamp tells, the next writes them all."""
    touched: list[Group] = connection.execute("SELECT DISTINCT name, a, b FROM touched").fetchall()
    if not touched:
        return False
    connection.execute("DELETE FROM touched")
    (number,) = connection.execute("SELECT stamp FROM copied").fetchone()
    with suppress(OSError):
        if read_stamp(directory) != Stamp(number, whole=True, boot=boot_id()):
            copy_all(connection, directory)
        else:
            connection.execute("UPDATE copied SET stamp = stamp + 1")
            _copy(connection, directory, touched)
    return True


def discard(directory: Path) -> None:
    """The transaction was not committed after all: its files are not to be believed."""
    stamp = read_stamp(directory)
    if stamp is not None:
        with suppress(OSError):
            _write_stamp(directory, Stamp(stamp.number, whole=False, boot=stamp.boot))


def copy_all(connection: sqlite3.Connection, directory: Path) -> None:
    """Every file anew, and none that the store knows nothing of."""
    groups: set[Group] = set()
    for table, columns in GROUPED.items():
        where = f"WHERE {OF_STANDING}" if table == "standing" else ""
        picked = ", ".join([*columns, "''", "''"][:2])
        groups |= {(table, a, b) for a, b in connection.execute(f"SELECT DISTINCT {picked} FROM {table} {where}")}
    known = {_path(directory, group) for group in groups}
    connection.execute("UPDATE copied SET stamp = stamp + 1")
    _copy(connection, directory, groups)
    for path in _files(directory):
        if path not in known:
            path.unlink(missing_ok=True)


def _copy(connection: sqlite3.Connection, directory: Path, groups: Iterable[Group]) -> None:
    (number,) = connection.execute("SELECT stamp FROM copied").fetchone()
    directory.mkdir(mode=0o700, exist_ok=True)
    boot = boot_id()
    _write_stamp(directory, Stamp(number, whole=False, boot=boot))
    for group in groups:
        _write_group(connection, directory, group)
    _write_stamp(directory, Stamp(number, whole=True, boot=boot))


def _write_group(connection: sqlite3.Connection, directory: Path, group: Group) -> None:
    table, *values = group
    columns = GROUPED[table]
    where = " AND ".join(f"{column} = ?" for column in columns) or "TRUE"
    cursor = connection.execute(f"SELECT * FROM {table} WHERE {where}", values[: len(columns)])
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    path = _path(directory, group)
    if not rows:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    text = json.dumps({"format": FORMAT, "table": table, "rows": rows})
    data = f"{zlib.crc32(text.encode()):08x} {text}\n".encode()
    # in place, guarded by the stamp: a file that takes another's place makes ext4 write it out at once
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.pwrite(descriptor, data, 0) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.ftruncate(descriptor, len(data))
    finally:
        os.close(descriptor)


def _path(directory: Path, group: Group) -> Path:
    table, *values = group
    name = ".".join(value.replace("%", "%25").replace("/", "%2F") for value in values[: len(GROUPED[table])])
    return directory / table / (name or "all")


def _files(directory: Path) -> Iterator[Path]:
    for table in GROUPED:
        with suppress(FileNotFoundError):
            yield from sorted((directory / table).iterdir())


def _write_stamp(directory: Path, stamp: Stamp) -> None:
    """In one write of the same length, so that a kill leaves the old one or the new one."""
    line = f"{stamp.number:020d} {'whole' if stamp.whole else 'begun'} {stamp.boot}\n"
    descriptor = os.open(directory / "stamp", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, line.encode(), 0)
    finally:
        os.close(descriptor)


def read_stamp(directory: Path) -> Stamp | None:
    """None where there are no copies, or none whose number can be read."""
    try:
        number, state, boot = (directory / "stamp").read_text().split()
        return Stamp(int(number), state == "whole", boot)
    except (OSError, ValueError):
        return None


def put_back(connection: sqlite3.Connection, directory: Path, number: int) -> Found:
    """Within a transaction: the store holds what the files say, and nothing else of these tables."""
    rows, unreadable = _read_all(directory)
    # numbers that clients remember must not come again for something else
    now = int(time.time() * 1000)
    connection.execute("DELETE FROM sqlite_sequence WHERE name='changes'")
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('changes', ?)", (now,))
    for table in reversed(GROUPED):
        where = f"WHERE {OF_STANDING}" if table == "standing" else ""
        connection.execute(f"DELETE FROM {table} {where}")
    for table in GROUPED:
        if table == "inventory":
            names = {str(row["set_name"]) for row in rows[table] if "set_name" in row}
            connection.executemany("INSERT OR IGNORE INTO sets VALUES (?, '', 0)", [(name,) for name in names])
        for row in rows[table]:
            try:
                _insert(connection, table, row)
            except sqlite3.Error:
                unreadable += 1
    connection.execute("UPDATE asked SET version = max(version + 1, ?)", (now,))
    connection.execute("UPDATE copied SET stamp = ?", (number,))
    (objects,) = connection.execute("SELECT count(*) FROM records").fetchone()
    (sets,) = connection.execute("SELECT count(*) FROM sets").fetchone()
    return Found(objects, sets, unreadable)


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    known = [column for _, column, *_ in connection.execute(f"PRAGMA table_info({table})") if column in row]
    marks = ", ".join("?" for _ in known)
    values = [row[column] for column in known]
    connection.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(known)}) VALUES ({marks})", values)


def _read_all(directory: Path) -> tuple[dict[str, list[dict[str, Any]]], int]:
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in GROUPED}
    unreadable = 0
    for path in _files(directory):
        try:
            found[path.parent.name] += _read(path)
        except (OSError, ValueError, KeyError):
            unreadable += 1
    return found, unreadable


def _read(path: Path) -> list[dict[str, Any]]:
    """Raises ValueError for a file whose bytes are not those that were written, or of a newer format."""
    checksum, _, text = path.read_bytes().removesuffix(b"\n").partition(b" ")
    if int(checksum, 16) != zlib.crc32(text):
        raise ValueError("its checksum is another")
    content = json.loads(text)
    if content["format"] > FORMAT or content["table"] != path.parent.name:
        raise ValueError("of another format")
    rows: list[dict[str, Any]] = content["rows"]
    return rows
