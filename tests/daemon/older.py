"""An older trimtab: a copy of this one, other code in all that outlives a daemon, and the state that it left."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from reconciler.store.database import MIGRATIONS
from reconciler.store.recovery import copies_of
from runtime.layout import Layout
from tests.cli.engine import CODE

VERSION = "0.0.9"
ROOMS = ("schemas", "runtime", "reconciler")
CHANGED = ("runtime/process/launcher.py", "runtime/network/dns/server.py")
"""Of the launcher, its monitors and the DNS server: each knows its code by its files."""
WITHOUT_COPIES = 6
"""The format of the store before there were copies of it, `reconciler.store.database.COPIED`."""


def copy_older(to: Path) -> Path:
    """The code; what to put in PYTHONPATH."""
    for room in ROOMS:
        shutil.copytree(CODE / room, to / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in CHANGED:
        with (to / name).open("a") as file:
            file.write(f"\n# {VERSION}\n")
    _substitute(to / "runtime/process/protocol.py", "PROTOCOL = 1\n", "PROTOCOL = 0\n")
    _substitute(to / "reconciler/cli/version_command.py", 'VERSION = "0.1.0"', f'VERSION = "{VERSION}"')
    return to


def _substitute(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{file} reads otherwise by now"
    file.write_text(text.replace(old, new))


def leave_older_state(layout: Layout) -> None:
    """The store as it was before its later migrations: without the tables they made, and no copies beside it."""
    later = "".join(MIGRATIONS[WITHOUT_COPIES:])
    assert "ALTER" not in later, "undo that too"
    with closing(sqlite3.connect(layout.store)) as connection:
        for table in re.findall(r"CREATE TABLE (\w+)", later):
            connection.execute(f"DROP TABLE {table}")
        connection.execute(f"PRAGMA user_version={WITHOUT_COPIES}")
        connection.commit()
    shutil.rmtree(copies_of(layout.store))
