"""`trimtab registry`: a registry of this engine's own, and the passwords of those who may use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runtime.layout import Layout

FILE = click.Path(dir_okay=False)


@click.group()
def command() -> None:
    """Serve images to others: a registry of this engine's own, or a mirror of another one."""


@command.command(short_help="Serve images until it is ended.")
@click.option("--listen", default="127.0.0.1:5000", metavar="HOST:PORT", help="Where [127.0.0.1:5000].")
@click.option("--tls-certificate", type=FILE, help="PEM; `trimtab system certs` makes it.")
@click.option("--tls-key", type=FILE, help="PEM.")
@click.option("--tls-ca", type=FILE, help="Clients must show a certificate that it signed.")
@click.option("--insecure", is_flag=True, help="Plain HTTP where others can reach it.")
@click.option("--htpasswd", type=FILE, help="Names and passwords; `trimtab registry passwd` writes it.")
@click.option("--anonymous", type=click.Choice(("pull", "push")), help="What somebody without a name may do.")
@click.option("--mirror", metavar="URL", help="Serve what this registry has, and keep it: https://registry-1.docker.io")
@click.option("--mirror-login", is_flag=True, help="Show it this engine's credentials: clients see what they open.")
@click.option("--mirror-fresh", default="60s", metavar="DURATION", help="How long a tag is believed [60s].")
@click.option("--mirror-keep", default="20g", metavar="SIZE", help="What is kept of it [20g].")
@click.option("--sparse", is_flag=True, help="Take manifests that name what is not here.")
@click.option("--max-blob", default="64g", metavar="SIZE", help="The largest blob that is taken [64g].")
@click.option("--max-uploads", default=256, type=click.IntRange(1, 100_000), help="Under way at once [256].")
@click.option("--upload-expiry", default="1h", metavar="DURATION", help="An upload left alone is dropped after [1h].")
@click.pass_obj
def serve(
    layout: Layout,
    listen: str,
    tls_certificate: str | None,
    tls_key: str | None,
    tls_ca: str | None,
    insecure: bool,
    htpasswd: str | None,
    anonymous: str | None,
    mirror: str | None,
    mirror_login: bool,
    mirror_fresh: str,
    mirror_keep: str,
    sparse: bool,
    max_blob: str,
    max_uploads: int,
    upload_expiry: str,
) -> None:
    """Serve images from this engine's store: docker, podman, skopeo and trimtab push to it and pull from it.

    On this machine alone and without passwords, unless told otherwise; SIGTERM ends it.
    """
    from pathlib import Path

    from reconciler.registry.listening import read_listen
    from reconciler.registry.run import run_registry
    from reconciler.registry.settings import Settings
    from schemas.units import read_bytes, read_seconds

    host, port = read_listen(listen)

    def path(text: str | None) -> Path | None:
        return Path(text).absolute() if text else None

    try:
        settings = Settings(
            host=host,
            port=port,
            tls_certificate=path(tls_certificate),
            tls_key=path(tls_key),
            tls_ca=path(tls_ca),
            insecure=insecure,
            htpasswd=path(htpasswd),
            anonymous=anonymous or "",
            mirror=mirror or "",
            mirror_login=mirror_login,
            fresh_seconds=read_seconds(mirror_fresh),
            keep_bytes=read_bytes(mirror_keep),
            is_sparse=sparse,
            blob_bytes=read_bytes(max_blob),
            uploads=max_uploads,
            upload_seconds=read_seconds(upload_expiry),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    run_registry(layout, settings)


@command.command(short_help="Free manifests that no tag leads to.")
@click.option("--unused", default="7d", metavar="DURATION", help="Not asked for in that time [7d].")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.pass_obj
def prune(layout: Layout, unused: str, dry_run: bool) -> None:
    """Free the manifests that were pushed here and that no tag leads to any more, and what only they need.

    What an index under a tag names stays, and so do signatures of what stays. A registry may be serving meanwhile.
    """
    from reconciler.cli.registry_prune import prune as free
    from schemas.units import read_seconds

    try:
        seconds = read_seconds(unused)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    free(layout, seconds, dry_run=dry_run)


@command.command(short_help="Let somebody in, by a password.")
@click.argument("file", type=FILE)
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read it from standard input [asked for on a terminal].")
@click.option("--delete", is_flag=True, help="Let them in no more.")
def passwd(file: str, name: str, password_stdin: bool, delete: bool) -> None:
    """Write a name and a password into FILE, as htpasswd has it; a running registry knows at once."""
    from pathlib import Path

    from reconciler.cli.registry_passwd import forget, keep

    click.echo(forget(Path(file), name) if delete else keep(Path(file), name, from_input=password_stdin))
