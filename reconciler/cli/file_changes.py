"""The work of `trimtab diff --fs`: the files that a container has changed of its image."""

from __future__ import annotations

import json
import os

import click

from reconciler.build.container import read_standing
from reconciler.cli.table import printable
from reconciler.cli.targets import containers_of
from runtime.layout import Layout


def print_changes(layout: Layout, name: str, output: str) -> int:
    """0: none, 1: some. Raises Refused where there is no such container."""
    container = containers_of(layout, name)[0]
    changes = read_standing(layout, container).changes()
    if output == "json":
        items = [{"change": change.kind.value, "path": f"/{os.fsdecode(change.path)}"} for change in changes]
        document = {"apiVersion": "trimtab/v1", "kind": "FileChanges", "container": container, "changes": items}
        click.echo(json.dumps(document, indent=2))
    else:
        for change in changes:
            click.echo(printable(change.describe()))
    return 1 if changes else 0
