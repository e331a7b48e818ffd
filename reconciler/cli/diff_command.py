"""`trimtab diff`: what `apply` would do, and why."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from reconciler.caller import caller
from reconciler.cli.inputs import ENV_FILE, SET, TEXT_OR_JSON, load_manifests, read_variables, refuse_nothing

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@SET
@ENV_FILE
@click.option(
    "--against", type=int, metavar="REV", help="Show what `rollback --to REV` would change, in place of PATH."
)
@click.option("--fs", "container", metavar="CONTAINER", help="List the files it has changed of its image: A, C, D.")
@click.option("--prune", is_flag=True, help="Show what --prune would delete, too.")
@click.option("--allow-empty", is_flag=True, help="With --prune: manifests without any object are meant.")
@TEXT_OR_JSON
@click.pass_obj
def command(
    layout: Layout,
    paths: tuple[str, ...],
    set_name: str | None,
    env_files: tuple[str, ...],
    against: int | None,
    container: str | None,
    prune: bool,
    allow_empty: bool,
    output: str,
) -> None:
    """Show what `apply` would change: + create, ~ update, ± replace, - delete.

    A difference that somebody made on the machine is marked [drift]. Exit 0: no difference, 1: differences,
    2: refused.
    """
    if container is not None and not paths and against is None:
        from reconciler.cli.file_changes import print_changes

        sys.exit(print_changes(layout, container, output))
    if container is not None:
        raise click.UsageError("--fs stands alone")
    if against is not None and not paths:
        from reconciler.cli.going_back import show_difference

        sys.exit(show_difference(layout, against, output))
    if against is not None or not paths:
        raise click.UsageError("give a PATH, or --against a revision, and not both")
    sys.exit(_show(layout, paths, set_name or caller().set_name(paths), env_files, prune, allow_empty, output))


def _show(
    layout: Layout,
    paths: Sequence[str],
    name: str,
    env_files: Sequence[str],
    prune: bool,
    allow_empty: bool,
    output: str,
) -> int:
    """The plan of manifests. 0: it is empty, 1: it is not."""
    from reconciler.cli.show import show_plan
    from reconciler.engine import open_engine
    from reconciler.prune import Pruning
    from reconciler.reconcile import Asked, prepare

    variables = read_variables(env_files)
    declared = load_manifests(paths, name, variables)
    if not prune:
        refuse_nothing(declared, paths)
    with open_engine(layout) as engine:
        asked = Asked(declared, name, paths[0], variables, Pruning(prune, allow_empty))
        prepared = prepare(engine, asked)
    show_plan(prepared.plan, name, output)
    return 0 if prepared.plan.empty and not prepared.plan.later else 1
