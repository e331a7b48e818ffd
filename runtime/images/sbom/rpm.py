"""Packages of an rpm database in SQLite: the header blobs, of which five tags are read.

Source: rpm.org, "RPM V4 Package format", "Header"; lib/backend/sqlite.c.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass

NAME, VERSION, RELEASE, EPOCH, LICENSE, ARCHITECTURE = 1000, 1001, 1002, 1003, 1014, 1022
_INT32, _STRING = 4, (6, 8, 9)
_ENTRY = struct.Struct(">iIiI")
MOST_ENTRIES = 4096
MOST_HEADER = 64 << 20
STEPS = 1_000_000
MOST_STEPS = 1000
"""Times `STEPS` of SQLite's machine: a view that calls itself has no end."""


class BadDatabase(Exception):
    """What is wrong with it, in words."""


@dataclass(frozen=True, slots=True)
class Row:
    """`version` as rpm writes it: `[EPOCH:]VERSION-RELEASE`."""

    name: str
    version: str
    architecture: str
    license: str


def read_rpm_rows(fd: int) -> Iterator[Row]:
    """The database is opened so that nothing is written, and nothing beside it is read. Raises BadDatabase."""
    try:
        connection = sqlite3.connect(f"file:/proc/self/fd/{fd}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error as error:
        raise BadDatabase(str(error)) from error
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_HEADER)
        left = iter(range(MOST_STEPS))
        connection.set_progress_handler(lambda: next(left, None) is None, STEPS)
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        for (blob,) in connection.execute("SELECT blob FROM Packages"):
            if isinstance(blob, bytes) and (row := read_header(blob)) is not None:
                yield row
    except sqlite3.Error as error:
        raise BadDatabase(str(error)) from error
    finally:
        connection.close()


def read_header(blob: bytes) -> Row | None:
    """None for a key that rpm keeps as a package. Raises BadDatabase."""
    try:
        tags = dict(_tags(blob))
    except (struct.error, ValueError) as error:
        raise BadDatabase("a header is damaged") from error
    name = tags.get(NAME, "")
    if not name or name == "gpg-pubkey":
        return None
    version = f"{tags.get(VERSION, '')}-{tags.get(RELEASE, '')}".strip("-")
    epoch = tags.get(EPOCH, "")
    full = f"{epoch}:{version}" if epoch not in ("", "0") else version
    return Row(name, full, tags.get(ARCHITECTURE, ""), tags.get(LICENSE, ""))


def _tags(blob: bytes) -> Iterator[tuple[int, str]]:
    entries, size = struct.unpack_from(">II", blob)
    start = 8 + entries * _ENTRY.size
    if entries > MOST_ENTRIES or size > MOST_HEADER or start + size > len(blob):
        raise ValueError("sizes")
    for index in range(entries):
        tag, kind, offset, _ = _ENTRY.unpack_from(blob, 8 + index * _ENTRY.size)
        at = start + offset
        if tag not in (NAME, VERSION, RELEASE, EPOCH, LICENSE, ARCHITECTURE):
            continue
        if not start <= at < len(blob):
            raise ValueError("offset")
        if kind == _INT32:
            yield tag, str(struct.unpack_from(">I", blob, at)[0])
        elif kind in _STRING:
            yield tag, blob[at : blob.index(b"\0", at)].decode(errors="replace")
