"""`trimtab explain`: what a field of a manifest means, and how its change reaches a living object."""

from __future__ import annotations

import click

from reconciler.cli.completing import complete_fields


@click.command()
@click.argument("path", required=False, metavar="KIND[.FIELD.…]", shell_complete=complete_fields)
def command(path: str | None) -> None:
    """Explain a kind or one of its fields: `trimtab explain container`, `trimtab explain container.healthcheck.test`.

    Without KIND, list the kinds. CHANGE says how a new value reaches an object that is there: live, restart or replace.
    """
    from schemas.explain import explain, list_kinds

    click.echo(explain(path) if path else list_kinds())
