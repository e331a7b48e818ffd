"""`trimtab reconcile`: look at an object now and bring it in line, whatever it waits for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_objects
from reconciler.cli.inputs import LOCK_TIMEOUT

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@click.argument("names", metavar="KIND/NAME|set/NAME...", nargs=-1, required=True, shell_complete=complete_objects)
@LOCK_TIMEOUT
@click.pass_obj
def command(layout: Layout, names: tuple[str, ...], lock_timeout: float) -> None:
    """Bring it in line with its manifest now, and what it stands on.

    Waits for no backoff, restart policy, refusal, maintenance window or `resume`. Nothing is read from manifests, and
    nothing is pruned. Exit 0: it is as declared, 1: something failed. `trimtab suspend` lets the daemon leave it alone,
    `trimtab resume` ends that, `trimtab wait` waits until it stands as wished, `trimtab source` tells what it follows.
    """
    from reconciler.cli.steering import reconcile

    sys.exit(reconcile(layout, names, lock_timeout))
