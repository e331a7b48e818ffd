"""The work of `trimtab image login` and `logout`. A password comes by a terminal or standard input, never as a word of
the command: others could read it in the list of processes."""

from __future__ import annotations

import sys

import click

from reconciler.registries import read_registries
from runtime.images.registry.credentials import Credentials
from runtime.images.registry.endpoints import DOCKER_HUB
from runtime.images.registry.login import login as keep
from runtime.images.registry.login import logout as forget
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.reference import Reference


def login(layout: Layout, registry: str, username: str | None, *, from_input: bool) -> None:
    """Raises Refused where the registry does not accept them."""
    account = _account(registry)
    if not sys.stdin.isatty() and not from_input:
        raise Refused("standard input is no terminal", step="login", hint="pipe the password in with --password-stdin")
    name = username or _asked("Username", hidden=False, from_input=from_input)
    password = sys.stdin.readline().rstrip("\r\n") if from_input else _asked("Password", hidden=True, from_input=False)
    if not name or not password or ":" in name:
        raise Refused("a name without a colon, and a password, are needed", step="login")
    keep(account, Credentials(name, password), read_registries(layout))
    click.echo(f"{account} accepts {name}.")


def _asked(what: str, *, hidden: bool, from_input: bool) -> str:
    if from_input:
        raise Refused("a name is needed beside --password-stdin", step="login", hint="give --username")
    return str(click.prompt(what, hide_input=hidden, err=True))


def logout(layout: Layout, registry: str) -> None:
    """Raises Refused for what is no registry."""
    account = _account(registry)
    known = forget(account, read_registries(layout))
    click.echo(f"{account}: forgotten." if known else f"{account}: nothing was known.")


def _account(text: str) -> str:
    """`docker.io` for all of Docker Hub's names."""
    host = text.removeprefix("https://").removeprefix("http://").partition("/")[0]
    try:
        domain = Reference.parse(f"{host}/x/y").domain
    except ValueError as error:
        raise Refused(str(error), step="read registry") from error
    return DOCKER_HUB if host in ("index.docker.io", "registry-1.docker.io") else domain if domain == host else host
