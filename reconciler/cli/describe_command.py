"""`trimtab describe`: everything about one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_objects

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@click.argument("name", metavar="KIND/NAME", shell_complete=complete_objects)
@click.option("-o", "output", type=click.Choice(("text", "json", "yaml")), default="text", help="Format [text].")
@click.pass_obj
def command(layout: Layout, name: str, output: str) -> None:
    """Tell everything about one object: where it was declared, what was asked, what the machine shows, what happened.

    What is observed is read now, from kernel and disk: limits as the cgroup's files say, mounts, addresses, names.
    """
    from reconciler.cli.describing import describe

    describe(layout, name, output)
