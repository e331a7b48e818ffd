"""`trimtab resume`: the end of `trimtab suspend`."""

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
    """Let the daemon look after it again, at once."""
    from reconciler.cli.steering import resume

    resume(layout, names)
