"""`trimtab history`: the revisions of each set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_sets
from reconciler.cli.inputs import TABLE_OR_JSON

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@click.argument("set_name", required=False, metavar="[SET]", shell_complete=complete_sets)
@click.option("--revision", type=int, metavar="REV", help="Print that revision's manifests.")
@click.option("-n", "--last", type=click.IntRange(min=0), metavar="N", help="Only the newest N [all].")
@TABLE_OR_JSON
@click.pass_obj
def command(layout: Layout, set_name: str | None, revision: int | None, last: int | None, output: str) -> None:
    """List what was asked of the engine, apply by apply, newest first: `trimtab rollback --to REV` goes back to one.

    An apply that asked for the same again leaves no revision.
    """
    from reconciler.cli.revision_rows import print_manifests, print_revisions

    if revision is not None:
        print_manifests(layout, set_name, revision, output)
    else:
        print_revisions(layout, set_name, output, last)
