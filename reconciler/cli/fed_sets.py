"""What is said to somebody who has just changed by hand what a source feeds."""

from __future__ import annotations

from datetime import datetime

import click

from reconciler.claims import declared_of
from reconciler.engine import open_engine
from reconciler.lock import is_held
from reconciler.sources.followed import told_of_sets
from reconciler.sources.strayed import strayed_from
from reconciler.steering import Steering, rollouts_wait, steer
from reconciler.store.database import Database
from reconciler.store.inventory import read_inventory
from runtime.layout import Layout
from schemas.names import Kind


def _would_wait(database: Database, set_name: str) -> str:
    """Why its source would not have applied anything new now, in words; empty where it would."""
    inventory = read_inventory(database)
    sources = [declared_of(entry) for key, entry in inventory.items() if key.kind is Kind.SOURCE]
    told = told_of_sets(sources).get(f"set/{set_name}") if sources else None
    return rollouts_wait(steer({}, None, told, Steering()), datetime.now())


def tell_of_source(layout: Layout, set_name: str) -> None:
    """Nothing where no daemon follows sources, none feeds the set, or it stands as its source has left it."""
    if not is_held(layout.daemon_lock):
        return
    with open_engine(layout) as engine:
        source = strayed_from(engine.database, set_name)
        waits = _would_wait(engine.database, set_name)
    if waits:
        click.secho(
            f"note: what comes to the set {set_name} by itself {waits}; this came by hand, now.", fg="cyan", err=True
        )
    if source is None:
        return
    click.secho(
        f"note: the set {set_name} has its objects from source {source}, so this is drift: it is put back as self_heal "
        f"says. Change it there, or `trimtab suspend set/{set_name}` first.",
        fg="cyan",
        err=True,
    )
