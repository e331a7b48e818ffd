"""`trimtab diff`: what `apply` would do, and why."""

from __future__ import annotations

import sys

import click

from reconciler.cli.inputs import load_manifests, manifest_options, read_variables
from runtime.layout import Layout


@click.command()
@manifest_options
@click.option("--prune", is_flag=True, help="Show what --prune would delete, too.")
@click.option("--allow-empty", is_flag=True, help="With --prune: manifests without any object are meant.")
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="Format [text].")
@click.pass_obj
def command(
    layout: Layout,
    paths: tuple[str, ...],
    set_name: str | None,
    env_files: tuple[str, ...],
    prune: bool,
    allow_empty: bool,
    output: str,
) -> None:
    """Show what `apply` would change: + create, ~ update, ± replace, - delete.

    A difference that somebody made on the machine is marked [drift]. Exit 0: no difference, 1: differences,
    2: refused.
    """
    from reconciler.cli.show import show_plan
    from reconciler.engine import open_engine
    from reconciler.prune import Pruning
    from reconciler.reconcile import Asked, prepare
    from reconciler.sources.directory import set_name as name_of

    name = set_name or name_of(paths)
    variables = read_variables(env_files)
    declared = load_manifests(paths, name, variables)
    with open_engine(layout) as engine:
        asked = Asked(declared, name, paths[0], variables, Pruning(prune, allow_empty))
        prepared = prepare(engine, asked)
    show_plan(prepared.plan, name, output)
    sys.exit(0 if prepared.plan.empty else 1)
