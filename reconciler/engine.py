"""One engine as the reconciler holds it: its paths, its store, how it reaches registries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.lock import ensure_root
from reconciler.store.database import Database
from reconciler.store.faults import store_faults
from runtime.layout import Layout
from schemas.errors import Refused


@dataclass(frozen=True, slots=True)
class Engine:
    layout: Layout
    database: Database


@contextmanager
def open_engine(layout: Layout) -> Iterator[Engine]:
    """Raises Refused when the store is damaged, or when the caller is not root."""
    if os.geteuid() != 0:
        raise Refused("trimtab drives the kernel and needs root", step="open the engine", hint="run it with sudo")
    ensure_root(layout.root)
    database = Database(layout.store)
    try:
        with store_faults(layout.store):
            yield Engine(layout, database)
    finally:
        database.close()
