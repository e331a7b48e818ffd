"""`trimtab delete`: take away what manifests declare, or a whole set. Volumes keep their data unless declared else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.caller import by_person, caller
from reconciler.cli.inputs import (
    DRY_RUN,
    ENV_FILE,
    LOCK_TIMEOUT,
    PARALLEL,
    SET,
    TEXT_OR_JSON,
    load_manifests,
    read_variables,
    refuse_nothing,
)

if TYPE_CHECKING:
    from runtime.layout import Layout
    from schemas.names import Key


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@SET
@ENV_FILE
@DRY_RUN
@LOCK_TIMEOUT
@PARALLEL
@TEXT_OR_JSON
@click.pass_obj
def command(
    layout: Layout,
    paths: tuple[str, ...],
    set_name: str | None,
    env_files: tuple[str, ...],
    dry_run: bool,
    lock_timeout: float,
    parallel: int,
    output: str,
) -> None:
    """Take away the objects that manifests declare, dependents first; with --set alone, all of a set.

    A volume's data stays, unless its manifest says `deletion_policy: delete`; `trimtab volume rm` deletes it.
    """
    from reconciler.cli.acting import Acting, act
    from reconciler.cli.fed_sets import tell_of_source
    from reconciler.cli.sets import refuse_unknown_set
    from reconciler.prune import ASKED_FOR, Pruning
    from reconciler.reconcile import Asked

    if not paths and not set_name:
        raise click.UsageError("give a PATH, or --set NAME for a whole set")
    name = set_name or caller().set_name(paths)
    variables = read_variables(env_files)
    pruning = Pruning(enabled=True, allow_empty=True, reason=ASKED_FOR)
    if paths:
        pruning = Pruning(only=_named(layout, paths, name, variables))
    if set_name is not None:
        refuse_unknown_set(layout, set_name)
    asked = Asked((), name, paths[0] if paths else "", variables, pruning, cause=by_person("delete"))
    status = act(layout, asked, Acting(parallel, dry_run, wait=False, lock_seconds=lock_timeout, output=output))
    if not dry_run:
        tell_of_source(layout, name)
    sys.exit(status)


def _named(layout: Layout, paths: tuple[str, ...], set_name: str, variables: dict[str, str]) -> frozenset[Key]:
    """What the manifests declare, and what that implies (a network named by nobody, an image named by reference)."""
    from reconciler.cli.no_path import refuse_object
    from reconciler.resolve.expand import implied, instances
    from reconciler.sources.files import NO_PATH
    from schemas.errors import Refused

    try:
        found = load_manifests(paths, set_name, variables)
    except Refused as error:
        if error.message == NO_PATH:
            refuse_object(layout, error.path)
        raise
    refuse_nothing(found, paths)
    declared = {item.key: item for item in found}
    return frozenset({*declared, *implied(instances(declared, declared), declared)})
