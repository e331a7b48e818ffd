"""A connection to the state file that remembers whether the file turned out to be damaged while it was read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.store.faults import is_damage, suspicion_of


class Connection(sqlite3.Connection):
    """`path`: of the file. `watched`: it notes what it changes. `damaged`: something could not be read."""

    path: Path
    watched = False
    damaged = False

    def __del__(self) -> None:
        """One that was replaced, as its file was found damaged, is closed when its last reader is done with it."""
        with suppress(sqlite3.Error):  # it was never opened
            self.close()

    def cursor(self, factory: Any = None) -> Any:
        """As sqlite3's, of the class below."""
        return super().cursor(factory or Cursor)

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        """As sqlite3's."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any) -> Any:
        """As sqlite3's."""
        return self.cursor().executemany(sql, parameters)

    def notice(self, error: sqlite3.DatabaseError) -> None:
        """Damage is noted, for whoever opens the file next."""
        if is_damage(error):
            self.damaged = True
            with suppress(OSError):
                suspicion_of(self.path).touch(mode=0o600)


class Cursor(sqlite3.Cursor):
    """Rows come one by one, and so may the damage."""

    connection: Connection

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        """As sqlite3's."""
        return self._noticing(super().execute, sql, parameters)

    def executemany(self, sql: str, parameters: Any) -> Any:
        """As sqlite3's."""
        return self._noticing(super().executemany, sql, parameters)

    def fetchone(self) -> Any:
        """As sqlite3's."""
        return self._noticing(super().fetchone)

    def fetchall(self) -> Any:
        """As sqlite3's."""
        return self._noticing(super().fetchall)

    def __next__(self) -> Any:
        return self._noticing(super().__next__)

    def _noticing(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except sqlite3.DatabaseError as error:
            self.connection.notice(error)
            raise
