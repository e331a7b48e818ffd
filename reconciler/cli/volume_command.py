"""`trimtab volume`: what volumes there are, also those whose data was kept, and the way to be rid of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_names

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.group()
def command() -> None:
    """Show volumes, and delete the data of those that nobody wants any more."""


@command.command("ls", short_help="List volumes, and what uses them.")
@click.option("-o", "output", type=click.Choice(("table", "json", "name")), default="table", help="Format [table].")
@click.pass_obj
def list_(layout: Layout, output: str) -> None:
    """List volumes, and what uses them; `kept` are those whose data outlived their manifest."""
    from reconciler.cli.getting import Asking, get

    get(layout, Asking(("volumes",), "wide" if output == "table" else output))


@command.command(short_help="Delete kept volumes with their data.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_names("Volume"))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(layout: Layout, names: tuple[str, ...], yes: bool) -> None:
    """Delete volumes with their data, for good. One that is declared or used is refused: delete that first."""
    from reconciler.cli.volume_remove import remove

    remove(layout, names, yes=yes)
