"""`trimtab image`: images by hand, without a manifest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.completing import complete_names
from reconciler.cli.image.manifest_command import COMMANDS

if TYPE_CHECKING:
    from runtime.layout import Layout

NAME = click.argument("name", metavar="NAME|REFERENCE", shell_complete=complete_names("Image"))
QUIET = click.option("-q", "--quiet", is_flag=True, help="Tell no progress.")


@click.group()
def command() -> None:
    """Bring, show and take away images. Containers use one by its name, or by the reference it was pulled by.

    `trimtab registry` serves them to others.
    """


@command.command("ls", short_help="List images, and what uses them.")
@click.option("-o", "output", type=click.Choice(("table", "json", "name")), default="table", help="Format [table].")
@click.pass_obj
def list_(layout: Layout, output: str) -> None:
    """List the images on this machine, and what uses them."""
    from reconciler.cli.image.list import print_images

    print_images(layout, output)


@command.command(short_help="Pull an image from a registry.")
@click.argument("reference")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Pull for another machine [this one's].")
@QUIET
@click.pass_obj
def pull(layout: Layout, reference: str, platform: str | None, quiet: bool) -> None:
    """Pull an image from a registry, or what is new of it: `trimtab image pull docker.io/library/nginx:1.27`."""
    from reconciler.cli.image.bring import pull as bring

    click.echo(bring(layout, reference, platform, quiet=quiet).name)


@command.command(short_help="Push an image to a registry.")
@NAME
@click.argument("target", required=False, metavar="[REFERENCE]")
@click.option(
    "--compression", type=click.Choice(("gzip", "zstd", "zstd:chunked")), default="gzip", help="Of plain layers [gzip]."
)
@QUIET
@click.pass_obj
def push(layout: Layout, name: str, target: str | None, compression: str, quiet: bool) -> None:
    """Push an image to a registry, under the reference it is known by or another one; print REFERENCE@DIGEST.

    What the registry has already is not sent again.
    """
    from reconciler.cli.image.push import push as send

    click.echo(send(layout, name, target, compression, quiet=quiet))


@command.command(short_help="Keep credentials for a registry.")
@click.argument("registry")
@click.option("-u", "--username", metavar="NAME", help="[asked for on a terminal]")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input [asked for on a terminal].")
@click.pass_obj
def login(layout: Layout, registry: str, username: str | None, password_stdin: bool) -> None:
    """Ask a registry whether it accepts a name and a password, and keep them where Docker does (config.json)."""
    from reconciler.cli.image.login import login as keep

    keep(layout, registry, username, from_input=password_stdin)


@command.command(short_help="Forget the credentials for a registry.")
@click.argument("registry")
@click.pass_obj
def logout(layout: Layout, registry: str) -> None:
    """Forget the credentials for a registry."""
    from reconciler.cli.image.login import logout as forget

    forget(layout, registry)


@command.command(short_help="Copy an image from one registry to another.")
@click.argument("source", metavar="REFERENCE")
@click.argument("target", metavar="REFERENCE")
@QUIET
@click.pass_obj
def copy(layout: Layout, source: str, target: str, quiet: bool) -> None:
    """Copy an image with all its platforms from one registry to another, unpacking nothing; print REFERENCE@DIGEST."""
    from reconciler.cli.image.push import copy as send

    click.echo(send(layout, source, target, quiet=quiet))


@command.command(short_help="Print everything about images as JSON.")
@click.argument("names", nargs=-1, required=True, metavar="NAME|REFERENCE...", shell_complete=complete_names("Image"))
@click.pass_obj
def inspect(layout: Layout, names: tuple[str, ...]) -> None:
    """Print everything about images as JSON: digests, layers, the configuration for their processes."""
    from reconciler.cli.image.list import print_details

    print_details(layout, names)


@command.command(short_help="Know an image by another reference, too.")
@click.argument("source", metavar="NAME|REFERENCE", shell_complete=complete_names("Image"))
@click.argument("target", metavar="REFERENCE")
@click.pass_obj
def tag(layout: Layout, source: str, target: str) -> None:
    """Know an image by another reference, too: `trimtab image tag nginx registry.example.com/web:1`."""
    from reconciler.cli.image.look import tag as write

    click.echo(write(layout, source, target))


@command.command(short_help="Tell how an image was made, line by line.")
@NAME
@click.option("-o", "output", type=click.Choice(("table", "json")), default="table", help="Format [table].")
@click.pass_obj
def history(layout: Layout, name: str, output: str) -> None:
    """Tell how an image was made, newest first: when, how large its layer is, by what."""
    from reconciler.cli.image.look import print_history

    print_history(layout, name, output)


@command.command(short_help="List the files in which two images differ.")
@click.argument("old", metavar="NAME|REFERENCE", shell_complete=complete_names("Image"))
@click.argument("new", metavar="NAME|REFERENCE", shell_complete=complete_names("Image"))
@click.pass_obj
def diff(layout: Layout, old: str, new: str) -> None:
    """List the files in which two images differ: A added, C changed, D deleted. Exit 0: none, 1: some."""
    from reconciler.cli.image.look import print_difference

    sys.exit(print_difference(layout, old, new))


@command.command(short_help="Take images away that nothing uses.")
@click.argument("names", nargs=-1, required=True, metavar="NAME|REFERENCE...", shell_complete=complete_names("Image"))
@click.option("-f", "--force", is_flag=True, help="Though something uses it: what runs keeps its files.")
@click.pass_obj
def rm(layout: Layout, names: tuple[str, ...], force: bool) -> None:
    """Take images away, and what of their layers and blobs nothing else needs. One that is used is refused."""
    from reconciler.cli.image.remove import remove

    remove(layout, names, force=force)


@command.command(short_help="Load images from an archive.")
@click.argument("file", metavar="FILE|DIRECTORY|-")
@click.option("--name", metavar="NAME", help="What to call it [after its tag].")
@QUIET
@click.pass_obj
def load(layout: Layout, file: str, name: str | None, quiet: bool) -> None:
    """Load images from a docker-archive, an OCI archive or an OCI layout directory; - is standard input."""
    from reconciler.cli.image.bring import load as bring

    for record in bring(layout, file, name, quiet=quiet):
        click.echo(record.name)


@command.command(short_help="Save an image as an archive.")
@NAME
@click.option("--output", "file", default="-", metavar="FILE|-", help="Write it there [standard output].")
@click.option(
    "--format",
    "form",
    type=click.Choice(("docker-archive", "oci-archive", "oci-layout")),
    default="docker-archive",
    help="Format [docker-archive]; oci-layout makes a directory.",
)
@click.pass_obj
def save(layout: Layout, name: str, file: str, form: str) -> None:
    """Save an image for another machine or tool."""
    from reconciler.cli.image.save import save as write

    write(layout, name, file, form)


@command.command(short_help="Write a container's file system as a tar.")
@click.argument("container", shell_complete=complete_names("Container"))
@click.option("--output", "file", default="-", metavar="FILE|-", help="Write it there [standard output].")
@click.pass_obj
def export(layout: Layout, container: str, file: str) -> None:
    """Write the files of a container as a tar, as its processes see them: the image's, and what it has changed.

    What is mounted in it (volumes, tmpfs, secrets) is not part of it. `trimtab image import` makes an image of it.
    """
    from reconciler.cli.image.save import export as write

    write(layout, container, file)


@command.command("import", short_help="Make an image of a tar of a root file system.")
@click.argument("name")
@click.argument("file", metavar="TAR|-")
@click.option("--cmd", multiple=True, metavar="WORD", help="A word of the command; give it once for each.")
@click.option("--entrypoint", multiple=True, metavar="WORD", help="A word of the entrypoint; once for each.")
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="A variable of its processes.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who its processes run as [root].")
@click.option("-w", "--workdir", default="", metavar="DIR", help="Where its processes start [/].")
@QUIET
@click.pass_obj
def import_(
    layout: Layout,
    name: str,
    file: str,
    cmd: tuple[str, ...],
    entrypoint: tuple[str, ...],
    env: tuple[str, ...],
    user: str,
    workdir: str,
    quiet: bool,
) -> None:
    """Make an image called NAME of a tar of a root file system; - is standard input."""
    from reconciler.cli.image.bring import import_rootfs
    from runtime.images.config import ImageConfig

    config = ImageConfig(env=env, cmd=cmd, entrypoint=entrypoint, user=user, working_dir=workdir)
    click.echo(import_rootfs(layout, name, file, config, quiet=quiet).name)


@command.command(short_help="Build an image from a Dockerfile.")
@click.argument("context", metavar="DIRECTORY|TAR|URL|-")
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME|REFERENCE", help="What to call it [the directory].")
@click.option("-f", "--file", default="", metavar="FILE|-", help="The Dockerfile [Dockerfile in the context].")
@click.option("--target", default="", metavar="STAGE", help="Build only what this stage needs [the last].")
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME[=VALUE]", help="A value for an ARG.")
@click.option("--build-context", "contexts", multiple=True, metavar="NAME=PLACE", help="Another context, by name.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label of the image.")
@click.option("--secret", "secrets", multiple=True, metavar="id=ID[,src=FILE|,env=NAME]", help="For RUN --mount.")
@click.option("--ssh", "agents", multiple=True, metavar="default|ID=SOCKET", help="An agent for RUN --mount.")
@click.option("--add-host", "hosts", multiple=True, metavar="NAME=ADDRESS", help="A name that each RUN knows.")
@click.option("--network", type=click.Choice(("default", "host", "none")), default="default", help="Of each RUN.")
@click.option("--shm-size", default="", metavar="SIZE", help="Of each RUN's /dev/shm [64m].")
@click.option("--no-cache", is_flag=True, help="Do every step anew.")
@click.option("--no-cache-filter", multiple=True, metavar="STAGE", help="Do the steps of this stage anew.")
@click.option(
    "--cache-from", multiple=True, metavar="REFERENCE|type=local,src=DIR", help="Take steps from this cache, too."
)
@click.option(
    "--cache-to",
    multiple=True,
    metavar="type=registry,ref=REFERENCE|type=local,dest=DIR",
    help="Write the steps to this cache; with mode=max those of all stages.",
)
@click.option("--platform", "platforms", multiple=True, metavar="OS/ARCHITECTURE", help="Only this machine's can be.")
@click.option("--pull", is_flag=True, help="Ask registries for newer base images.")
@click.option("--allow", multiple=True, metavar="security.insecure", help="What RUN may ask for.")
@click.option("--sbom", is_flag=True, help="Keep a list of its packages beside it.")
@click.option("--provenance/--no-provenance", default=True, help="Keep beside it how it was built [--provenance].")
@click.option("--check", is_flag=True, help="Only tell what the checks find in the Dockerfile.")
@click.option(
    "--progress", type=click.Choice(("auto", "plain", "json")), default="auto", help="How to tell of steps [auto]."
)
@QUIET
@click.pass_obj
def build(layout: Layout, /, check: bool, network: str, **options: Any) -> None:
    """Build an image from a Dockerfile; print its name.

    Steps that were done before, on the same files, are not done again.
    """
    from reconciler.cli.image.build import Typed, build_typed, check_typed, tell_findings

    typed = Typed(network="" if network == "default" else network, **options)
    if check:
        findings = check_typed(layout, typed)
        tell_findings(findings, as_json=typed.progress == "json")
        raise SystemExit(1 if findings else 0)
    made = build_typed(layout, typed)
    if typed.progress == "json":
        import json

        click.echo(json.dumps({"event": "image", "name": made.record.name, "digest": made.record.digest}))
    else:
        click.echo(made.record.name)


@command.command(short_help="Print which packages an image holds.")
@NAME
@click.option("--provenance", is_flag=True, help="Print how it was built instead.")
@click.pass_obj
def sbom(layout: Layout, name: str, provenance: bool) -> None:
    """Print which packages an image holds, as CycloneDX; of one that is not here, what its registry has about it."""
    from reconciler.cli.image.sbom import print_document

    print_document(layout, name, provenance=provenance)


@command.command(short_help="Sign an image in its registry.")
@click.argument("reference")
@click.option("--key", required=True, metavar="FILE", help="Private key (PEM, P-256); with --list, the list's own.")
@click.option("--list", "listed", metavar="FILE", help="Add a line to this list instead.")
@click.pass_obj
def sign(layout: Layout, reference: str, key: str, listed: str | None) -> None:
    """Sign an image in its registry, as cosign does; print REFERENCE@DIGEST. `verify` in a manifest asks for it."""
    from reconciler.cli.image.trust import sign as attach

    attach(layout, reference, key, listed)


@command.command(short_help="Tell whether an image is signed.")
@click.argument("reference")
@click.option("--key", "keys", required=True, multiple=True, metavar="FILE", help="Public key (PEM), once for each.")
@click.option("--list", "listed", metavar="FILE", help="Look into this list instead.")
@click.pass_obj
def verify(layout: Layout, reference: str, keys: tuple[str, ...], listed: str | None) -> None:
    """Tell whether an image is signed by one of the keys; print REFERENCE@DIGEST. Exit 0: it is, 2: it is not."""
    from reconciler.cli.image.trust import verify as ask

    ask(layout, reference, keys, listed)


@command.command(short_help="Make an image of what a container has changed.")
@click.argument("container", shell_complete=complete_names("Container"))
@click.argument("name")
@click.option("-a", "--author", default="", metavar="TEXT", help="Who made it, for its history.")
@click.option("-m", "--message", default="", metavar="TEXT", help="What was changed, for its history.")
@click.option(
    "-c", "--change", "changes", multiple=True, metavar="INSTRUCTION", help="Of a Dockerfile, as 'CMD [\"serve\"]'."
)
@click.option("--pause/--no-pause", default=True, help="Hold the container meanwhile [--pause].")
@QUIET
@click.pass_obj
def commit(
    layout: Layout,
    container: str,
    name: str,
    author: str,
    message: str,
    changes: tuple[str, ...],
    pause: bool,
    quiet: bool,
) -> None:
    """Make an image called NAME of a container: its image, and a layer of what it has changed.

    What is mounted in it (volumes, tmpfs, secrets) is not part of the image.
    """
    from reconciler.cli.image.commit import commit as make

    click.echo(make(layout, container, name, (author, message), changes, pause=pause, quiet=quiet).name)


for each in COMMANDS:
    command.add_command(each)
