"""`trimtab source`: the sources that a daemon follows, and having it look at one now."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.inputs import TABLE_OR_JSON, Duration

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.group()
def command() -> None:
    """List what the daemon follows, or have it look at a source now.

    A Source is declared by a manifest, or named by `trimtab daemon --source`. `trimtab suspend set/NAME` lets
    the daemon apply nothing new of it, `trimtab status` tells the same as `ls`.
    """


@command.command("ls")
@TABLE_OR_JSON
@click.pass_context
def list_(ctx: click.Context, output: str) -> None:
    """Tell how each source stands. Exit 0: all is well, 1: not."""
    from reconciler.cli.source_rows import print_status
    from reconciler.client.route import HOST

    layout: Layout = ctx.obj
    sys.exit(print_status(layout, ctx.meta.get(HOST), output))


@command.command()
@click.argument("name")
@click.option("--retry", is_flag=True, help="Try again what failed, put back what strayed, end a rollback.")
@click.option("--timeout", type=Duration(), default="1m", metavar="TIME", help="Wait no longer for the end [1m].")
@TABLE_OR_JSON
@click.pass_context
def fetch(ctx: click.Context, name: str, retry: bool, timeout: float, output: str) -> None:
    """Have the daemon look at a source now, and wait for what comes of it. Exit 0: all is well, 1: not.

    A revision that was tried before is not tried again without --retry.
    """
    from reconciler.cli.fetching import fetch_source
    from reconciler.client.route import HOST

    layout: Layout = ctx.obj
    sys.exit(fetch_source(layout, ctx.meta.get(HOST), name, retry, timeout, output))
