"""`trimtab version`."""

from __future__ import annotations

import click

VERSION = "0.1.0"


@click.command()
def command() -> None:
    """Print the version."""
    click.echo(f"trimtab {VERSION}")
