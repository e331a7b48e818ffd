"""`trimtab events`: what happened to objects, as the store keeps it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_objects

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@click.argument("name", required=False, metavar="[KIND/NAME]", shell_complete=complete_objects)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option("--since", metavar="TIME", help="Only what happened since: 10m (ago), 2026-11-24T08:00:00Z.")
@click.option("--type", "kind", type=click.Choice(("Normal", "Warning"), case_sensitive=False), help="Only this type.")
@click.option(
    "-n", "--last", type=click.IntRange(min=0), default=1000, metavar="N", help="The newest N of them [1000]."
)
@click.option("-o", "output", type=click.Choice(("text", "json")), default="text", help="Format; json: a line each.")
@click.pass_obj
def command(
    layout: Layout, name: str | None, follow: bool, since: str | None, kind: str | None, last: int, output: str
) -> None:
    """List what happened, oldest first: each applied action and each failure, with its reason."""
    import time

    from reconciler.cli.event_lines import Wanted, print_events
    from reconciler.cli.interrupt import INTERRUPTED
    from reconciler.cli.quantities import read_moment
    from reconciler.cli.selection import read_key

    moment = read_moment(since, time.time()) if since else 0.0
    wanted = Wanted(str(read_key(name)) if name else None, moment, kind.capitalize() if kind else None, last)
    try:
        print_events(layout, wanted, output, follow=follow)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
