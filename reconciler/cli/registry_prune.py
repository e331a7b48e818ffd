"""The work of `trimtab registry prune`."""

from __future__ import annotations

import click

from reconciler.cli.quantities import size_text
from runtime.images.hosted.catalog import Catalog
from runtime.images.hosted.database import opened
from runtime.images.hosted.sweeping import forget_untagged, sweep, untagged
from runtime.layout import Layout


def prune(layout: Layout, unused_seconds: float, *, dry_run: bool) -> None:
    """Raises Refused, RetryLater."""
    if not layout.registry.exists():
        click.echo("There is no registry.")
        return
    with opened(layout) as database:
        catalog = Catalog(database)
        found = untagged(catalog, unused_seconds) if dry_run else forget_untagged(catalog, unused_seconds)
        for each in found:
            click.echo(f"- {each.name}@{each.digest}")
        if not found:
            click.echo("Nothing to free.")
        elif not dry_run:
            click.echo(f"{size_text(sweep(layout, catalog))} freed.")
