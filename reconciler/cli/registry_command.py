"""`trimtab registry`: a registry of this engine's own, and the passwords of those who may use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.inputs import Duration

if TYPE_CHECKING:
    from runtime.layout import Layout

FILE = click.Path(dir_okay=False)


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, or a size as Compose writes it: `512m`, `20g`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from schemas.units import read_bytes

        try:
            return read_bytes(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _absolute(context: click.Context, option: click.Parameter, value: str | None) -> Path | None:
    return Path(value).absolute() if value else None


def _file(name: str, told: str) -> Callable[..., Any]:
    return click.option(name, type=FILE, callback=_absolute, help=told)


SERVING = (
    click.option("--listen", default="127.0.0.1:5000", metavar="HOST:PORT", help="Where [127.0.0.1:5000]."),
    _file("--tls-certificate", "PEM; `trimtab system certs` makes it."),
    _file("--tls-key", "PEM."),
    _file("--tls-ca", "Clients must show a certificate that it signed."),
    click.option("--insecure", is_flag=True, help="Plain HTTP where others can reach it."),
    _file("--htpasswd", "Names and passwords; `trimtab registry passwd` writes it."),
    _file("--rights", "Who may do what: lines of NAME REPOSITORIES pull,push,delete."),
    click.option("--tokens", is_flag=True, help="Give clients a token for their password."),
    click.option(
        "--anonymous",
        type=click.Choice(("pull", "push")),
        callback=lambda context, option, value: value or "",
        help="What somebody without a name may do.",
    ),
    click.option(
        "--mirror",
        default="",
        metavar="URL",
        help="Serve what this registry has, and keep it: https://registry-1.docker.io",
    ),
    click.option("--mirror-login", is_flag=True, help="Show it this engine's credentials: clients see what they open."),
    click.option(
        "--mirror-fresh",
        "fresh_seconds",
        type=Duration(),
        default="60s",
        metavar="DURATION",
        help="How long a tag is believed [60s].",
    ),
    click.option(
        "--mirror-keep", "keep_bytes", type=Size(), default="20g", metavar="SIZE", help="What is kept of it [20g]."
    ),
    click.option("--sparse", "is_sparse", is_flag=True, help="Take manifests that name what is not here."),
    click.option(
        "--max-blob",
        "blob_bytes",
        type=Size(),
        default="64g",
        metavar="SIZE",
        help="The largest blob that is taken [64g].",
    ),
    click.option(
        "--max-uploads", "uploads", default=256, type=click.IntRange(1, 100_000), help="Under way at once [256]."
    ),
    click.option(
        "--upload-expiry",
        "upload_seconds",
        type=Duration(),
        default="1h",
        metavar="DURATION",
        help="An upload left alone is dropped after [1h].",
    ),
)
"""Each is named as its field of the registry's `Settings`; `--listen` is two of them."""


def serving(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a registry is told."""
    for decorate in reversed(SERVING):
        function = decorate(function)
    return function


@click.group()
def command() -> None:
    """Serve images to others: a registry of this engine's own, or a mirror of another one."""


@command.command(short_help="Serve images until it is ended.")
@serving
@click.pass_obj
def serve(layout: Layout, /, listen: str, **given: Any) -> None:
    """Serve images from this engine's store: docker, podman, skopeo and trimtab push to it and pull from it.

    On this machine alone and without passwords, unless told otherwise; SIGTERM ends it.
    """
    from reconciler.registry.listening import read_listen
    from reconciler.registry.run import run_registry
    from reconciler.registry.settings import Settings

    host, port = read_listen(listen)
    run_registry(layout, Settings(host, port, **given))


@command.command(short_help="Free manifests that no tag leads to.")
@click.option("--unused", type=Duration(), default="7d", metavar="DURATION", help="Not asked for in that time [7d].")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.pass_obj
def prune(layout: Layout, unused: float, dry_run: bool) -> None:
    """Free the manifests that were pushed here and that no tag leads to any more, and what only they need.

    What an index under a tag names stays, and so do signatures of what stays. A registry may be serving meanwhile.
    """
    from reconciler.cli.registry_prune import prune as free

    free(layout, unused, dry_run=dry_run)


@command.command(short_help="Let somebody in, by a password.")
@click.argument("file", type=FILE)
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read it from standard input [asked for on a terminal].")
@click.option("--delete", is_flag=True, help="Let them in no more.")
def passwd(file: str, name: str, password_stdin: bool, delete: bool) -> None:
    """Write a name and a password into FILE, as htpasswd has it; a running registry knows at once."""
    from reconciler.cli.registry_passwd import forget, keep

    click.echo(forget(Path(file), name) if delete else keep(Path(file), name, from_input=password_stdin))
