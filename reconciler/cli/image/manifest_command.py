"""`trimtab image manifest` and `trimtab image referrers`: what a registry has beside plain images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.inputs import TABLE_OR_JSON

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.group("manifest", short_help="Make and show manifest lists in registries.")
def manifest() -> None:
    """Make and show manifest lists: images for several platforms under one name, in a registry."""


@manifest.command(short_help="Put images for several platforms under one name.")
@click.argument("target", metavar="REFERENCE")
@click.argument("sources", nargs=-1, required=True, metavar="REFERENCE...")
@click.option(
    "-a", "--append", "is_added", is_flag=True, help="Add to what is there, for the same platforms in its place."
)
@click.option("--annotation", "annotations", multiple=True, metavar="NAME=VALUE", help="Of the list.")
@click.option("--dry-run", is_flag=True, help="Print the list; push nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Tell no progress.")
@click.pass_obj
def create(
    layout: Layout,
    target: str,
    sources: tuple[str, ...],
    is_added: bool,
    annotations: tuple[str, ...],
    dry_run: bool,
    quiet: bool,
) -> None:
    """Put images of registries, each for its platform, into a list, and push that as the first REFERENCE.

    What its repository has not yet is brought there. Prints REFERENCE@DIGEST.
    """
    from reconciler.cli.image.manifest import Asked, make_list

    asked = Asked(target, sources, is_added=is_added, annotations=annotations, dry_run=dry_run)
    click.echo(make_list(layout, asked, quiet=quiet))


@manifest.command(short_help="Print a manifest or list as the registry has it.")
@click.argument("reference")
@click.pass_obj
def inspect(layout: Layout, reference: str) -> None:
    """Print a manifest or a manifest list as the registry has it."""
    from reconciler.cli.image.manifest import show_list

    click.echo(show_list(layout, reference))


@click.command(short_help="List what refers to an image: signatures, SBOMs, attestations.")
@click.argument("reference")
@click.option("--artifact-type", default="", metavar="TYPE", help="Only these.")
@TABLE_OR_JSON
@click.pass_obj
def referrers(layout: Layout, reference: str, artifact_type: str, output: str) -> None:
    """List what refers to an image in its registry, and the attestations within it. None of it is verified."""
    from reconciler.cli.image.manifest import print_referrers

    print_referrers(layout, reference, artifact_type, output)


COMMANDS = (manifest, referrers)
