"""Where a command is carried out: by a daemon if there is one, else by this process. Imported by every command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from reconciler.client.remote_commands import ASKING, GROUPS, command_name, is_here, is_remote

if TYPE_CHECKING:
    from runtime.layout import Layout

WORDS = "trimtab.words"
"""Where the group leaves the command line, from the command's name on."""
HOST = "trimtab.host"
PLACES = "trimtab.places"
"""Root and run directory, as absolute paths."""


def routed(name: str, command: click.Command) -> click.Command:
    """The same command, which asks a daemon where it can."""
    if isinstance(command, click.Group):
        if name in GROUPS:
            for each in command.commands.values():
                _route(each)
    else:
        _route(command)
    return command


def _route(command: click.Command) -> None:
    if command.callback is not None and not hasattr(command.callback, "by_itself"):
        command.callback = _through_daemon(command.callback)


def _through_daemon(by_itself: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **parameters: Any) -> Any:
        context = click.get_current_context()
        words = context.meta.get(WORDS)
        if words is not None and (is_remote(words) or is_here(words)):
            status = _ask(context.meta[PLACES], context.meta.get(HOST), words, context.params)
            if status is not None:
                context.exit(status)
        if context.obj is None:
            context.obj = _layout(*context.meta[PLACES])
        return by_itself(*arguments, **parameters)

    run.by_itself = by_itself  # type: ignore[attr-defined]
    return run


def _layout(root: str, run: str) -> Layout:
    from pathlib import Path

    from runtime.layout import Layout

    return Layout(Path(root), Path(run))


def _ask(places: tuple[str, str], given: str | None, words: list[str], parameters: dict[str, Any]) -> int | None:
    """The exit code; None where no daemon is meant or there."""
    from reconciler.client.host import find_host

    try:
        host = find_host(given, places[1])
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if host is None:
        return None
    asks = command_name(words) in ASKING and not (parameters.get("yes") or parameters.get("dry_run"))
    if asks or is_here(words):
        if host.chosen:
            how = "give --yes: nobody can be asked there" if asks else "it is done on this machine alone"
            raise click.UsageError(f"`{command_name(words)}` for {host.address}: {how}")
        return None
    from reconciler.client.through import Elsewhere, through

    try:
        return through(host, words, parameters, places[0])
    except Elsewhere:
        return None
