"""`trimtab`: finds the command, turns errors into words and exit codes.

Only click is imported here, so that `--help` and `version` cost little more than the interpreter; a command's module is
imported when it is called. Exit codes: 0 done (for `diff`: no difference), 1 something failed (for `diff`:
differences), 2 refused before anything was touched or wrong usage.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from pathlib import Path

import click

FIRST = {
    "validate": "Check manifests; say what to mend, and where.",
    "diff": "Show what `apply` would change. Exit 0: nothing, 1: something.",
    "apply": "Make the machine as the manifests say.",
    "get": "List objects and how they stand.",
    "logs": "Print what a container has written.",
}
MORE = {
    "delete": "Take objects away.",
    "describe": "Tell all of an object.",
    "exec": "Run a command inside.",
    "events": "List what happened.",
    "explain": "Explain a field.",
    "schema": "Print a JSON Schema.",
    "image": "Images by hand.",
    "system": "info, check, df.",
    "completion": "For your shell.",
    "version": "Print the version.",
}
SURROUNDINGS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EMFILE,
    errno.ENOMEM,
)
"""Errors that are the machine's and nobody's fault."""
NAME_WIDTH, COLUMN_WIDTH = 12, 38
"""Of the two columns of further commands, so that all of the help fits a screen of 24 lines."""


class Commands(click.Group):
    """Commands by name, each in `reconciler.cli.<name>_command` as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*FIRST, *MORE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in FIRST and cmd_name not in MORE:
            return None
        module = importlib.import_module(f"reconciler.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean `trimtab {near[0]}`?" if near else " See `trimtab --help`."
            raise click.UsageError(f"there is no command `{args[0]}`.{hint}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Start with"):
            formatter.write_dl(list(FIRST.items()))
        with formatter.section("Commands"):
            cells = [f"{name:{NAME_WIDTH}}{text}" for name, text in MORE.items()]
            half = (len(cells) + 1) // 2
            for left, right in zip(cells[:half], [*cells[half:], ""], strict=False):
                formatter.write(f"  {left:{COLUMN_WIDTH}}{right}".rstrip() + "\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What a newcomer needs first, first."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--root", type=click.Path(), envvar="TRIMTAB_ROOT", help="What survives a reboot [/var/lib/trimtab].")
@click.option("--run", type=click.Path(), envvar="TRIMTAB_RUN", help="Live state [/run/trimtab].")
@click.pass_context
def cli(ctx: click.Context, root: str | None, run: str | None) -> None:
    """A container engine driven by manifest files: edit them in git, see what would change, apply."""
    from runtime.layout import DEFAULT_ROOT, DEFAULT_RUN, Layout

    ctx.obj = Layout(root=Path(root or DEFAULT_ROOT).absolute(), run=Path(run or DEFAULT_RUN).absolute())


def main() -> None:
    """Run the command line. Never a traceback for a user's mistake; `TRIMTAB_DEBUG=1` shows them for ours."""
    status = _run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = _nobody_reads()
    sys.exit(status)


def _run() -> int:
    try:
        status = cli.main(prog_name="trimtab", standalone_mode=False)
    except SystemExit as leaving:
        status = leaving.code
    except click.exceptions.Abort:
        return _say("interrupted", 130)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        return _unexpected(error)
    return status if isinstance(status, int) else 0


def _nobody_reads() -> int:
    """Whoever read our output has left (`| head`): leave too, without a word, as click does while a command runs."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _unexpected(error: Exception) -> int:
    from schemas.errors import TrimtabError

    if os.environ.get("TRIMTAB_DEBUG") == "1":
        raise error
    if isinstance(error, TrimtabError):
        return _say(str(error), 2)
    if isinstance(error, PermissionError) and os.geteuid() != 0:
        return _say(f"{error}; trimtab needs root to drive the kernel: run it with sudo", 2)
    if isinstance(error, OSError) and error.errno in SURROUNDINGS:
        return _say(f"{error}; mend that and try again", 1)
    return _say(f"this is a fault of trimtab: {type(error).__name__}: {error}; TRIMTAB_DEBUG=1 shows where", 3)


def _say(text: str, status: int) -> int:
    click.echo(f"trimtab: {text}", err=True)
    return status
