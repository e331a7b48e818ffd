"""Printing plans: coloured on a terminal, plain elsewhere, or JSON."""

from __future__ import annotations

import click

from reconciler.actions import Plan


def show_plan(plan: Plan, set_name: str, output: str) -> None:
    """Print it as text or JSON."""
    from reconciler.cli.render import plan_document, plan_lines

    if output == "json":
        import json

        click.echo(json.dumps(plan_document(plan, set_name), indent=2, ensure_ascii=False))
        return
    for line, colour in plan_lines(plan, set_name):
        click.secho(line, fg=colour)
