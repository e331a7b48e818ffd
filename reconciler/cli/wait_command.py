"""`trimtab wait`: until an object stands as wished."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_objects
from reconciler.cli.inputs import Duration

if TYPE_CHECKING:
    from runtime.layout import Layout

DEFAULT_SECONDS = 60.0


@click.command()
@click.argument("names", metavar="KIND/NAME|set/NAME...", nargs=-1, required=True, shell_complete=complete_objects)
@click.option("--for", "wish", default="condition=Ready", metavar="WISH", help="What for [condition=Ready].")
@click.option("--timeout", type=Duration(), default=DEFAULT_SECONDS, metavar="TIME", help="At most so long [60s].")
@click.pass_obj
def command(layout: Layout, names: tuple[str, ...], wish: str, timeout: float) -> None:
    """Wait until each stands as wished. Exit 0: they do, 1: not in time.

    WISH is condition=NAME (Ready, Healthy, Reconciling, Stalled), condition=NAME=False, sync=Synced,
    health=Healthy, jsonpath={.process.phase}=running (into what `get -o json` tells), create, or delete.

    What is not there yet is waited for; of `delete` it is done.
    """
    from reconciler.cli.awaiting import wait

    sys.exit(wait(layout, names, wish, timeout))
