"""Options that several commands share: which manifests, set and variables, how to act, in which form to answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from reconciler.caller import caller

if TYPE_CHECKING:
    from schemas.envelope import Declared

PATHS = click.argument("paths", nargs=-1, required=True, metavar="PATH...")
SET = click.option("--set", "set_name", help="Name of what is applied together [the repository's or directory's].")
ENV_FILE = click.option(
    "--env-file", "env_files", multiple=True, type=click.Path(dir_okay=False), help="File of variables for ${...}."
)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds, or a duration as Compose writes it: `90`, `1m30s`, `500ms`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from schemas.units import read_seconds

        try:
            return read_seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


LOCK_TIMEOUT = click.option(
    "--lock-timeout", type=Duration(), default=30.0, metavar="TIME", help="Wait for another apply [30s]."
)
_AT_ONCE = 2 * (os.cpu_count() or 1)
PARALLEL = click.option(
    "--parallel", type=click.IntRange(1, 64), default=_AT_ONCE, help=f"Actions at once [{_AT_ONCE}]."
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Show the plan, change nothing.")
WAIT = click.option("--wait/--no-wait", default=True, help="Wait until what was started runs [--wait].")
TEXT_OR_JSON = click.option("-o", "output", type=click.Choice(("text", "json")), default="text", help="Format [text].")
TABLE_OR_JSON = click.option(
    "-o", "output", type=click.Choice(("table", "json")), default="table", help="Format [table]."
)


def manifest_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """PATH..., --set, --env-file."""
    for decorate in (ENV_FILE, SET, PATHS):
        function = decorate(function)
    return function


def read_variables(env_files: Sequence[str]) -> dict[str, str]:
    """The variables of `--env-file`, and over them those of the environment, as Compose has it."""
    from schemas.env_file import read_env_file
    from schemas.errors import Refused

    environment = caller().environment
    found: dict[str, str] = {}
    for name in env_files:
        try:
            found |= read_env_file(name, caller().read_bytes(name), environment)
        except OSError as error:
            raise Refused(error.strerror or str(error), step="read --env-file", path=name) from error
    return found | dict(environment)


def refuse_nothing(declared: Sequence[Declared], paths: Sequence[str]) -> None:
    """Raises Refused where the manifests declare nothing: hardly anybody means that."""
    from schemas.errors import Refused

    if not declared:
        where = "standard input" if list(paths) == ["-"] else ", ".join(paths)
        hint = "a manifest begins with `apiVersion: trimtab/v1` and `kind:`; docs/manifests.md has a first one"
        raise Refused(f"there is no object in {where}", step="read manifests", hint=hint)


def load_manifests(paths: Sequence[str], set_name: str, variables: dict[str, str]) -> list[Declared]:
    """Every object of the manifests, its paths made absolute. Raises Invalid with all problems."""
    from reconciler.sources.contents import files_named
    from reconciler.sources.relative import locate

    texts, commit = caller().read_texts(paths), caller().head_commit(paths)
    declared = [locate(item, caller().directory) for item in caller().load(texts, variables, set_name, commit)]
    caller().require(files_named(declared))
    return declared
