"""`trimtab`: finds the command, turns errors into words and exit codes.

Only click is imported here, so that `--help` and `version` cost little more than the interpreter; a command's module is
imported when it is called. Exit codes: 0 done (for `diff`: no difference), 1 something failed (for `diff`:
differences), 2 refused before anything was touched or wrong usage.
"""

from __future__ import annotations

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
    "logs": "Print a container's output.",
}
MORE = {
    "delete": "Take away what manifests declare.",
    "describe": "Tell everything about one object.",
    "exec": "Run a command in a container.",
    "events": "List what happened.",
    "explain": "Explain a kind or a field: `trimtab explain container.ports`.",
    "schema": "Print a kind's JSON Schema.",
    "image": "List, pull, inspect, load, save, import, remove images.",
    "system": "This engine and machine: info, check, df.",
    "completion": "Print a shell's completion script.",
    "version": "Print the version.",
}


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
        for title, commands in (("Start with", FIRST), ("Commands", MORE)):
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--root", type=click.Path(), envvar="TRIMTAB_ROOT", help="What survives a reboot [/var/lib/trimtab].")
@click.option("--run", type=click.Path(), envvar="TRIMTAB_RUN", help="Live state [/run/trimtab].")
@click.pass_context
def cli(ctx: click.Context, root: str | None, run: str | None) -> None:
    """A container engine driven by manifest files: edit them in git, see what would change, apply.

    \b
    First steps:  trimtab validate PATH · trimtab diff PATH · trimtab apply PATH
    """
    from runtime.layout import DEFAULT_ROOT, DEFAULT_RUN, Layout

    ctx.obj = Layout(root=Path(root or DEFAULT_ROOT).absolute(), run=Path(run or DEFAULT_RUN).absolute())


def main() -> None:
    """Run the command line. Never a traceback for a user's mistake; `TRIMTAB_DEBUG=1` shows them for ours."""
    try:
        status = cli.main(prog_name="trimtab", standalone_mode=False)
    except click.exceptions.Abort:
        status = _say("interrupted; what was under way was finished, the next apply does the rest", 130)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 141
    except Exception as error:
        status = _unexpected(error)
    sys.exit(status if isinstance(status, int) else 0)


def _unexpected(error: Exception) -> int:
    from schemas.errors import TrimtabError

    if os.environ.get("TRIMTAB_DEBUG") == "1":
        raise error
    if isinstance(error, TrimtabError):
        return _say(str(error), 2)
    if isinstance(error, PermissionError) and os.geteuid() != 0:
        return _say(f"{error}; trimtab needs root to drive the kernel: run it with sudo", 2)
    return _say(f"this is a fault of trimtab: {type(error).__name__}: {error}; TRIMTAB_DEBUG=1 shows where", 3)


def _say(text: str, status: int) -> int:
    click.echo(f"trimtab: {text}", err=True)
    return status
