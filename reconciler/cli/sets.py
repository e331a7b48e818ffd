"""The sets that are there, and what is said to somebody who names another."""

from __future__ import annotations

from reconciler.engine import open_engine
from reconciler.store.inventory import known_sets
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.nearest import nearest


def refuse_unknown_set(layout: Layout, name: str) -> None:
    """Raises Refused for a set that was never applied, or is gone, naming those there are."""
    known: list[str] = []
    if layout.store.exists():
        with open_engine(layout) as engine:
            known = known_sets(engine.database)
    if name in known:
        return
    near = nearest(name, known)
    there = f"there are: {', '.join(known)}" if known else "nothing is applied here"
    raise Refused(f"there is no set {name}", hint=f"did you mean {near}? {there}" if near else there)
