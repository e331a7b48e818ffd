"""`trimtab exec`: one more process in a running container."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import complete_names

if TYPE_CHECKING:
    from runtime.layout import Layout


def _without_dashes(context: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
    """`exec NAME -- ps` as kubectl has it: the dashes only end the options."""
    if words[:1] != ("--",):
        return words
    if len(words) == 1:
        raise click.MissingParameter(ctx=context, param=parameter)
    return words[1:]


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.argument("name", shell_complete=complete_names("Container", "Service"))
@click.argument(
    "arguments",
    nargs=-1,
    required=True,
    metavar="COMMAND [ARG]...",
    type=click.UNPROCESSED,
    callback=_without_dashes,
)
@click.option("-i/-I", "--interactive/--no-interactive", default=None, help="Pass standard input on [with -t].")
@click.option("-t/-T", "--tty/--no-tty", default=None, help="Give it a terminal [if this is one].")
@click.option("-u", "--user", metavar="USER[:GROUP]", help="Run as this user, by name or number [the container's].")
@click.option(
    "-e",
    "--env",
    "environment",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Set a variable; without a value, pass ours on.",
)
@click.option("-w", "--workdir", metavar="DIR", help="Start there [the container's].")
@click.option("-d", "--detach", is_flag=True, help="Start it, print its pid, do not wait.")
@click.pass_obj
def command(
    layout: Layout,
    name: str,
    arguments: tuple[str, ...],
    interactive: bool | None,
    tty: bool | None,
    user: str | None,
    environment: tuple[str, ...],
    workdir: str | None,
    detach: bool,
) -> None:
    """Run a command in a running container, or in the first running replica of a Service.

    Its exit code is ours: 126 cannot be executed, 127 not found, 128 + number for a signal.
    """
    from reconciler.cli.executing import Errand, execute

    if detach and (interactive or tty):
        raise click.UsageError("--detach leaves no streams to pass: leave out -i and -t")
    errand = Errand(arguments, user, environment, workdir, interactive, tty)
    sys.exit(execute(layout, name, errand, detach=detach))
