"""One engine as the reconciler holds it: its paths, its store, how it reaches registries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.store.database import Database
from runtime.layout import Layout


@dataclass(frozen=True, slots=True)
class Engine:
    layout: Layout
    database: Database


@contextmanager
def open_engine(layout: Layout) -> Iterator[Engine]:
    """Raises Refused when the store is damaged, PermissionError when the caller is not root."""
    database = Database(layout.store)
    try:
        yield Engine(layout, database)
    finally:
        database.close()
