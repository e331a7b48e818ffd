"""`trimtab why`: the chain behind an object's present state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_objects
from reconciler.cli.inputs import TEXT_OR_JSON

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@click.argument("name", metavar="KIND/NAME", shell_complete=complete_objects)
@TEXT_OR_JSON
@click.pass_obj
def command(layout: Layout, name: str, output: str) -> None:
    """Say why an object is as it is: who asked for it where, what was done about it and why, what it waits for."""
    from reconciler.cli.reasons import why

    why(layout, name, output)
