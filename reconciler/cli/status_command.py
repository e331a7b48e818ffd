"""`trimtab status`: what the daemon follows, and how it stands with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.inputs import TABLE_OR_JSON

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@TABLE_OR_JSON
@click.pass_context
def command(ctx: click.Context, output: str) -> None:
    """Tell whether a daemon runs, and how each source that it follows stands. Exit 0: all is well, 1: not.

    What is wrong with a source is told with file and line; what was applied of it last stays.
    """
    from reconciler.cli.source_rows import print_status
    from reconciler.client.route import HOST

    layout: Layout = ctx.obj
    sys.exit(print_status(layout, ctx.meta.get(HOST), output))
