"""`trimtab logs`: what a container, or each replica of a Service, has written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_names

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@click.argument("name", shell_complete=complete_names("Container", "Service"))
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each container.")
@click.option("--since", metavar="TIME", help="Only what was written since: 10m (ago), 2026-11-24T08:00:00Z.")
@click.option("--until", metavar="TIME", help="Only what was written until then.")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--stream", type=click.Choice(("stdout", "stderr")), help="Only this stream [both].")
@click.pass_obj
def command(
    layout: Layout,
    name: str,
    follow: bool,
    tail: int | None,
    since: str | None,
    until: str | None,
    timestamps: bool,
    stream: str | None,
) -> None:
    """Print what a container has written; of a Service, all replicas, each line with its replica's name.

    What it wrote to its standard error goes to standard error.
    """
    import time

    from reconciler.cli.interrupt import INTERRUPTED
    from reconciler.cli.log_lines import Wanted, print_logs
    from reconciler.cli.quantities import read_moment
    from reconciler.cli.targets import containers_of

    if follow and until:
        raise click.UsageError("--follow and --until exclude each other")
    now = time.time()
    moments = [read_moment(text, now) if text else None for text in (since, until)]
    wanted = Wanted(follow, tail, moments[0], moments[1], stream, timestamps)
    try:
        print_logs(layout, containers_of(layout, name), wanted)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
