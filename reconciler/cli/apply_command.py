"""`trimtab apply`: plan, carry out, tell each action as it happens, sum up in one line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.caller import by_person, caller
from reconciler.cli.inputs import (
    DRY_RUN,
    LOCK_TIMEOUT,
    PARALLEL,
    TEXT_OR_JSON,
    WAIT,
    Duration,
    load_manifests,
    manifest_options,
    read_variables,
    refuse_nothing,
)

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@manifest_options
@click.option("--prune", is_flag=True, help="Delete what the set owns and the manifests no longer have.")
@click.option("--allow-empty", is_flag=True, help="With --prune: delete everything if the manifests are empty.")
@DRY_RUN
@WAIT
@click.option("--timeout", type=Duration(), metavar="TIME", help="Begin no action after that time [no limit].")
@LOCK_TIMEOUT
@PARALLEL
@TEXT_OR_JSON
@click.pass_obj
def command(
    layout: Layout,
    paths: tuple[str, ...],
    set_name: str | None,
    env_files: tuple[str, ...],
    prune: bool,
    allow_empty: bool,
    dry_run: bool,
    wait: bool,
    timeout: float | None,
    lock_timeout: float,
    parallel: int,
    output: str,
) -> None:
    """Make the machine as the manifests say. Exit 0: converged, 1: something failed, 2: refused, nothing touched.

    PATH is a file, a directory (*.yaml, *.yml, *.json in it and below), or - for standard input.
    """
    from reconciler.cli.acting import Acting, act
    from reconciler.cli.fed_sets import tell_of_source
    from reconciler.prune import Pruning
    from reconciler.reconcile import Asked

    name = set_name or caller().set_name(paths)
    variables = read_variables(env_files)
    declared = load_manifests(paths, name, variables)
    if not prune:
        refuse_nothing(declared, paths)
    commit = declared[0].origin.commit if declared else ""
    asked = Asked(declared, name, paths[0], variables, Pruning(prune, allow_empty), commit, by_person("apply"))
    acting = Acting(parallel, dry_run, wait, lock_timeout, output, timeout)
    status = act(layout, asked, acting)
    if not dry_run:
        tell_of_source(layout, name)
    sys.exit(status)
