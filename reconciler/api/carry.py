"""Carry out a command line for a client: the very code that runs without a daemon, in a thread of its own context."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from reconciler.api.outgoing import VisitorLeft
from reconciler.caller import Caller, work_for
from reconciler.cli.commands import cli, guarded
from reconciler.client.remote_commands import is_remote
from runtime.layout import Layout
from schemas.errors import Refused

LEFT = 1
"""The exit code of what nobody waits for."""


def command_named(words: Sequence[str]) -> click.Command:
    """Raises Refused for what a daemon does not do for others."""
    command = cli.get_command(click.Context(cli), words[0]) if is_remote(words) and words[0] != "exec" else None
    if command is None:
        raise Refused(f"a daemon does not carry out `{' '.join(words[:2])}`", step="read the command")
    return command


def carry(layout: Layout, who: Caller, words: Sequence[str]) -> int:
    """The exit code. What it says goes to `who`. Raises FilesWanted."""
    work_for(who)
    command = command_named(words)
    try:
        return guarded(_run(command, layout, words))
    except VisitorLeft:
        return LEFT


def _run(command: click.Command, layout: Layout, words: Sequence[str]) -> Callable[[], object]:
    return lambda: command.main(
        args=list(words[1:]), prog_name=f"trimtab {words[0]}", standalone_mode=False, obj=layout
    )
