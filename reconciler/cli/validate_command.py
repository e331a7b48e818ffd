"""`trimtab validate`: read manifests and check them against each other. Touches nothing, needs no root."""

from __future__ import annotations

import click

from reconciler.cli.inputs import ENV_FILE, PATHS, load_manifests, read_variables, refuse_nothing


@click.command()
@PATHS
@ENV_FILE
def command(paths: tuple[str, ...], env_files: tuple[str, ...]) -> None:
    """Check manifests; say what to mend, and where. Exit 0: valid, 2: not.

    PATH is a file, a directory (*.yaml, *.yml, *.json in it and below), or - for standard input.
    """
    from reconciler.cli.quantities import objects_are
    from reconciler.fitness import missing_files
    from reconciler.sources.contents import read_contents, read_environments
    from schemas.check import check
    from schemas.errors import Invalid

    variables = read_variables(env_files)
    declared = load_manifests(paths, "", variables)
    refuse_nothing(declared, paths)
    problems = [*check(declared), *(problem for item in declared for problem in missing_files(item))]
    if problems:
        raise Invalid(problems)
    read_contents(declared, variables)
    read_environments(declared, variables)
    click.echo(f"{objects_are(len(declared))} valid.")
