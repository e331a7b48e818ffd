"""The commands by name, as click knows them; each one's module is imported when it is called.

Called by `reconciler.cli.entry`, and in the daemon by whatever carries a command out. Exit codes: 0 done (for `diff`:
no difference), 1 something failed (for `diff`: differences), 2 refused before anything was touched or wrong usage.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import click

from reconciler.cli.failures import say, unexpected
from reconciler.client.plain import places
from reconciler.client.route import HOST, PLACES, WORDS, routed

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
    "status": "How it goes.",
    "reconcile": "Look now.",
    "context": "Machines.",
    "volume": "Kept data.",
    "system": "The engine.",
    "completion": "For shells.",
    "version": "Of trimtab.",
}
BESIDE = {
    "registry": "Serve images to others.",
    "source": "List what the daemon follows, and fetch it now.",
    "suspend": "Let the daemon leave an object alone.",
    "resume": "Let it look after it again.",
    "wait": "Wait until an object stands as wished.",
}
"""What the help of `image` and of `reconcile` tells of: there is a line for no more."""
ELSEWHERE = {
    "ps": "`trimtab get containers` lists them.",
    "up": "`trimtab apply PATH` makes what a compose.yaml or manifests declare.",
    "down": "`trimtab delete PATH` takes away what they declare; `--set NAME` a whole set.",
    "inspect": "`trimtab describe KIND/NAME` tells all of one; `get -o json` is for programs.",
    "run": "Write a Container's manifest and `trimtab apply` it; `trimtab exec` runs something inside one.",
    "rm": "`trimtab delete PATH` takes away what manifests declare; `trimtab volume rm` kept data.",
    "rmi": "`trimtab image rm NAME` removes an image.",
    "images": "`trimtab image ls` lists them.",
    "stop": "Write `state: stopped` into the manifest and `trimtab apply` it.",
    "create": "Write a manifest and `trimtab apply` it.",
    "pull": "`trimtab image pull` brings one.",
    "build": "`trimtab image build` builds one.",
}
"""Commands of other tools, and what does their work here."""
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
            if args[0] in ELSEWHERE:
                hint = f" {ELSEWHERE[args[0]]}"
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
    ctx.meta[PLACES] = places(root, run)


def run() -> int:
    """The command line of this process."""
    return guarded(lambda: cli.main(prog_name="trimtab", standalone_mode=False))


def guarded(run: Callable[[], object]) -> int:
    """The exit code of a command; what goes wrong is said in words."""
    try:
        status = run()
    except SystemExit as leaving:
        status = leaving.code
    except click.exceptions.Abort:
        from reconciler.cli.interrupt import INTERRUPTED

        return say("interrupted", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        return unexpected(error)
    return status if isinstance(status, int) else 0
