"""`trimtab rollback`: make a set, or one object, what it was asked to be at an earlier revision."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_sets
from reconciler.cli.inputs import DRY_RUN, LOCK_TIMEOUT, PARALLEL, TEXT_OR_JSON, WAIT

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@click.argument("what", required=False, metavar="[SET|KIND/NAME]", shell_complete=complete_sets)
@click.option("--to", "revision", type=int, metavar="REV", help="The revision [the one before, but for deletions].")
@DRY_RUN
@WAIT
@LOCK_TIMEOUT
@PARALLEL
@TEXT_OR_JSON
@click.pass_obj
def command(
    layout: Layout,
    what: str | None,
    revision: int | None,
    dry_run: bool,
    wait: bool,
    lock_timeout: float,
    parallel: int,
    output: str,
) -> None:
    """Apply what an earlier revision asked for; what came since is taken away, data of volumes stays.

    A set that follows a source stays where it was rolled back to until the source has something new.
    """
    from reconciler.cli.acting import Acting
    from reconciler.cli.going_back import roll_back

    acting = Acting(parallel, dry_run, wait, lock_timeout, output)
    sys.exit(roll_back(layout, what, revision, acting))
