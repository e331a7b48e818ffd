"""`trimtab suspend`: leave an object or a set alone until `trimtab resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_objects

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@click.argument("names", metavar="KIND/NAME|set/NAME...", nargs=-1, required=True, shell_complete=complete_objects)
@click.pass_obj
def command(layout: Layout, names: tuple[str, ...]) -> None:
    """Let the daemon repair, start again and replace nothing of it; what happens to it is told all the same.

    An apply by hand still changes it. The annotation `trimtab/reconcile: disabled` says the same in a manifest.
    """
    from reconciler.cli.steering import suspend

    suspend(layout, names)
