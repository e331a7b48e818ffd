"""`trimtab`: finds the command, turns errors into words and exit codes.

Only click is imported here, so that `--help` and `version` cost little more than the interpreter; a command's module is
imported when it is called. Exit codes: 0 done (for `diff`: no difference), 1 something failed (for `diff`:
differences), 2 refused before anything was touched or wrong usage.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from reconciler.client.route import HOST, PLACES, WORDS, routed
from runtime.defaults import ROOT, RUN

if TYPE_CHECKING:
    from schemas.errors import Invalid

FIRST = {
    "validate": "Check manifests; say what to mend, and where.",
    "diff": "Show what `apply` would change. Exit 0: nothing, 1: something.",
    "apply": "Make the machine as the manifests say.",
    "get": "List objects and how they stand.",
    "logs": "Print what a container has written.",
}
MORE = {
    "delete": "Take it away.",
    "describe": "All of one.",
    "exec": "Run inside.",
    "events": "Happenings.",
    "history": "Revisions.",
    "rollback": "Go back.",
    "why": "Why it is so.",
    "explain": "Of fields.",
    "schema": "JSON Schemas.",
    "image": "Images.",
    "daemon": "Keep it so.",
    "status": "Of sources.",
    "reconcile": "Look now.",
    "context": "Machines.",
    "volume": "Kept data.",
    "system": "The engine.",
    "completion": "For shells.",
    "version": "Of trimtab.",
}
BESIDE = {
    "suspend": "Let the daemon leave an object alone.",
    "resume": "Let it look after it again.",
    "wait": "Wait until an object stands as wished.",
}
"""What the help of `reconcile` tells of: there is a line for no more."""
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
OUTPUT = "standard output"
NAME_WIDTH, COLUMN_WIDTH, COLUMNS = 11, 26, 3
"""Of the columns of further commands, so that all of the help fits a screen of 24 lines."""


class Commands(click.Group):
    """Commands by name, each in `reconciler.cli.<name>_command` as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*FIRST, *MORE, *BESIDE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in FIRST and cmd_name not in MORE and cmd_name not in BESIDE:
            return None
        module = importlib.import_module(f"reconciler.cli.{cmd_name}_command")
        return routed(cmd_name, module.command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        ctx.meta[WORDS] = list(args)
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
            rows = -(-len(cells) // COLUMNS)
            for row in range(rows):
                formatter.write("  " + "".join(f"{cell:{COLUMN_WIDTH}}" for cell in cells[row::rows]).rstrip() + "\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What a newcomer needs first, first."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--root", type=click.Path(), envvar="TRIMTAB_ROOT", help="What survives a reboot [/var/lib/trimtab].")
@click.option("--run", type=click.Path(), envvar="TRIMTAB_RUN", help="Live state [/run/trimtab].")
@click.option("-H", "--host", metavar="ADDRESS", help="A daemon: unix://, tcp://, ssh://; none [TRIMTAB_HOST].")
@click.pass_context
def cli(ctx: click.Context, root: str | None, run: str | None, host: str | None) -> None:
    """A container engine driven by manifest files: edit, see what changes, apply."""
    ctx.meta[HOST] = host
    ctx.meta[PLACES] = os.path.abspath(root or ROOT), os.path.abspath(run or RUN)


def main() -> None:
    """Run the command line. Never a traceback for a user's mistake; `TRIMTAB_DEBUG=1` shows them for ours."""
    if sys.stdout is None:  # closed by whoever started us, who wants to hear nothing
        sys.exit(_run())
    _name_output()
    status = _run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = _nobody_reads()
    except OSError as error:
        status = _cannot_write(error)
    sys.exit(status)


class _Output(io.FileIO):
    """Standard output that names itself in what goes wrong: a full disk there is not the engine's."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = OUTPUT
            raise


def _name_output() -> None:
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False)),
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
        line_buffering=sys.stdout.isatty(),
    )


def _run() -> int:
    return guarded(lambda: cli.main(prog_name="trimtab", standalone_mode=False))


def guarded(run: Callable[[], object]) -> int:
    """The exit code of a command; what goes wrong is said in words."""
    try:
        status = run()
    except SystemExit as leaving:
        status = leaving.code
    except click.exceptions.Abort:
        from reconciler.cli.interrupt import INTERRUPTED

        return _say("interrupted", INTERRUPTED)
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


def _cannot_write(error: OSError) -> int:
    """What was to be said is lost: that must not pass for success."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _say(f"cannot write to standard output: {error.strerror}", 1)


def _unexpected(error: Exception) -> int:
    from schemas.errors import Invalid, TrimtabError

    if os.environ.get("TRIMTAB_DEBUG") == "1":
        raise error
    if isinstance(error, Invalid):
        return _refuse(error)
    if isinstance(error, TrimtabError):
        return _say(str(error), 2)
    if isinstance(error, PermissionError) and os.geteuid() != 0:
        return _say(f"{error}; trimtab needs root to drive the kernel: run it with sudo", 2)
    if isinstance(error, OSError) and error.filename == OUTPUT:
        return _cannot_write(error)
    if isinstance(error, OSError) and error.errno in SURROUNDINGS:
        return _say(f"{error}; mend that and try again", 1)
    return _say(f"this is a fault of trimtab: {type(error).__name__}: {error}; TRIMTAB_DEBUG=1 shows where", 3)


def _refuse(invalid: Invalid) -> int:
    """A line for each problem, its place first, as compilers and linters have it: editors jump there."""
    for problem in invalid.problems:
        click.echo(str(problem), err=True)
    count = len(invalid.problems)
    return _say(f"{count} problem{'' if count == 1 else 's'}; nothing was touched", 2)


def _say(text: str, status: int) -> int:
    click.echo(f"trimtab: {text}", err=True)
    return status
