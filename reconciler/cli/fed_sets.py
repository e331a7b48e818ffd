"""What is said to somebody who has just changed by hand what a source feeds."""

from __future__ import annotations

import click

from reconciler.engine import open_engine
from reconciler.lock import is_held
from reconciler.sources.strayed import strayed_from
from runtime.layout import Layout


def tell_of_source(layout: Layout, set_name: str) -> None:
    """Nothing where no daemon follows sources, none feeds the set, or it stands as its source has left it."""
    if not is_held(layout.daemon_lock):
        return
    with open_engine(layout) as engine:
        source = strayed_from(engine.database, set_name)
    if source is None:
        return
    click.secho(
        f"note: the set {set_name} has its objects from source {source}, so this is drift: it is put back as self_heal "
        f"says. Change it there, or `trimtab suspend set/{set_name}` first.",
        fg="cyan",
        err=True,
    )
