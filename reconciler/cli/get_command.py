"""`trimtab get`: what there is, and how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_objects

if TYPE_CHECKING:
    from runtime.layout import Layout

FORMATS = ("table", "wide", "json", "yaml", "name")


@click.command()
@click.argument("words", nargs=-1, metavar="[KIND[/NAME]]...", shell_complete=complete_objects)
@click.option("-o", "output", type=click.Choice(FORMATS), default="table", help="Format [table].")
@click.option("-l", "labels", multiple=True, metavar="LABEL[=VALUE]", help="Only objects with this label.")
@click.option("--set", "set_name", help="Only objects of this set.")
@click.option("--show-origin", is_flag=True, help="Say file, line and set of each.")
@click.option("--show-secrets", is_flag=True, help="With -o yaml and json: inline contents of Secrets, too.")
@click.pass_obj
def command(
    layout: Layout,
    words: tuple[str, ...],
    output: str,
    labels: tuple[str, ...],
    set_name: str | None,
    show_origin: bool,
    show_secrets: bool,
) -> None:
    """List objects and how they stand; without KIND, all of them.

    KIND in any case, singular or plural: `trimtab get containers services`, `trimtab get container/web`.

    -o yaml gives manifests that apply back to no difference. -o json is a report: manifest, standing and facts.
    """
    from reconciler.cli.getting import Asking, get

    get(layout, Asking(words, output, labels, set_name, show_origin, show_secrets))
