"""`trimtab system`: this engine, this machine, and what it takes of the disk."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.inputs import TABLE_OR_JSON
from reconciler.cli.system.daemon import COMMANDS

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.group()
def command() -> None:
    """Tell about this engine and machine, and end its helpers."""


@command.command(short_help="Tell what this engine holds, and what runs of it.")
@TABLE_OR_JSON
@click.pass_obj
def info(layout: Layout, output: str) -> None:
    """Tell who this engine is, what it holds and which of its processes run."""
    from reconciler.cli.system.info import print_info

    print_info(layout, output)


@command.command(short_help="Say what this kernel and machine lack.")
@TABLE_OR_JSON
@click.option("--all", "everything", is_flag=True, help="Show what is there, too, not only what is missing.")
@click.pass_obj
def check(layout: Layout, output: str, everything: bool) -> None:
    """Say what this kernel and machine lack, what that switches off, and the remedy.

    Exit 0: all that is required is there, 1: something required is missing.
    """
    from reconciler.cli.system.check import print_check

    sys.exit(print_check(layout, output, everything=everything))


@command.command(short_help="End the launcher and the DNS server.")
@click.option("--force", is_flag=True, help="Though containers run: they go on without them.")
@click.pass_obj
def stop(layout: Layout, force: bool) -> None:
    """End what of the engine runs besides containers: the launcher and the DNS server. The next apply starts them.

    Refused while containers run. Before an engine is removed: `trimtab delete --set NAME` for each set, then this.
    """
    from reconciler.cli.system.stop import stop as end

    end(layout, force=force)


@command.command("prune", short_help="Free what nothing uses.")
@click.option("--images", "with_images", is_flag=True, help="Also images brought by hand that no container uses.")
@click.option(
    "-a", "--all", "everything", is_flag=True, help="The same, and what builds keep: their steps, cache mounts."
)
@click.option("--volumes", "with_volumes", is_flag=True, help="Also the data of volumes that outlived their manifests.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and how much; change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@TABLE_OR_JSON
@click.pass_obj
def prune_(
    layout: Layout, with_images: bool, everything: bool, with_volumes: bool, dry_run: bool, yes: bool, output: str
) -> None:
    """Free the layers and blobs that no image, container, build or work under way needs; say first what goes, in bytes.

    What a manifest declares and what a container stands on always stay.
    """
    from reconciler.cli.system.prune import Asked, prune

    asked = Asked(
        with_images=with_images or everything,
        with_builds=everything,
        with_volumes=with_volumes,
        dry_run=dry_run,
        yes=yes,
        output=output,
    )
    prune(layout, asked)


@command.command(short_help="Verify every blob and layer of images.")
@click.option("--repair", is_flag=True, help="Bring anew what is damaged.")
@TABLE_OR_JSON
@click.pass_obj
def fsck(layout: Layout, repair: bool, output: str) -> None:
    """Read every blob and layer of the image store and compare it with its digest.

    Exit 0: all are right, or were brought anew, 1: something is damaged.
    """
    from reconciler.cli.system.fsck import print_fsck

    sys.exit(print_fsck(layout, output, repair=repair))


@command.command(short_help="Tell what is taken of the disk.")
@TABLE_OR_JSON
@click.pass_obj
def df(layout: Layout, output: str) -> None:
    """Tell what images, containers, logs and volumes take of the disk.

    Bytes are those of the disk, as du counts them, hard links once. SHARED is what another image has, too.
    """
    from reconciler.cli.system.df import print_usage

    print_usage(layout, output)


for each in COMMANDS:
    command.add_command(each)
