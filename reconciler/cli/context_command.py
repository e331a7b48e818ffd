"""`trimtab context`: names for daemons elsewhere."""

from __future__ import annotations

import re

import click

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@click.group()
def command() -> None:
    """Name the daemons of other machines, and say which one commands are for.

    TRIMTAB_CONTEXT or --host choose another for one command.
    """


@command.command()
@click.argument("name")
@click.option("--host", "address", required=True, metavar="ADDRESS", help="unix://PATH, tcp://HOST:PORT, ssh://HOST.")
@click.option("--tls", default="", metavar="DIR", help="For tcp://: certificates [/etc/trimtab/tls/client].")
def create(name: str, address: str, tls: str) -> None:
    """Remember a daemon by a name; one of that name is replaced."""
    from pathlib import Path

    from reconciler.client.contexts import LOCAL, read_contexts, write_contexts

    if not NAME.fullmatch(name) or name == LOCAL:
        raise click.UsageError(f"{name!r} cannot name a context")
    if address.partition("://")[0] not in ("unix", "tcp", "tcp+insecure", "ssh") or "://" not in address:
        raise click.UsageError(f"{address!r} is no host: write unix://PATH, tcp://HOST:PORT or ssh://HOST")
    known = read_contexts()
    known["contexts"][name] = {"host": address, "tls": str(Path(tls).absolute()) if tls else ""}
    write_contexts(known)
    click.echo(f"Context {name} is {address}.")


@command.command()
@click.argument("name")
def use(name: str) -> None:
    """Have commands go there from now on; `default` is this machine."""
    from reconciler.client.contexts import LOCAL, read_contexts, write_contexts

    known = read_contexts()
    if name != LOCAL and name not in known["contexts"]:
        raise click.UsageError(f"there is no context {name!r}; `trimtab context ls` lists them")
    write_contexts(known | {"current": name})
    click.echo(f"Commands go to {name}.")


@command.command("ls")
def list_() -> None:
    """List the contexts; the one in use is marked."""
    from reconciler.cli.table import table_lines
    from reconciler.client.contexts import LOCAL, read_contexts

    known = read_contexts()
    chosen = known.get("current", LOCAL)
    all_ = {LOCAL: {"host": "this machine"}, **known["contexts"]}
    rows = [("*" if name == chosen else "", name, str(each["host"])) for name, each in all_.items()]
    for line in table_lines(("IN USE", "NAME", "HOST"), rows):
        click.echo(line)


@command.command()
@click.argument("names", nargs=-1, required=True)
def rm(names: tuple[str, ...]) -> None:
    """Forget contexts."""
    from reconciler.client.contexts import LOCAL, read_contexts, write_contexts

    known = read_contexts()
    for name in names:
        if name not in known["contexts"]:
            raise click.UsageError(f"there is no context {name!r}")
        del known["contexts"][name]
        if known.get("current") == name:
            known["current"] = LOCAL
    write_contexts(known)
