"""The line about an action that ended, the same on a terminal and elsewhere. Pure but for `tell`, which prints it."""

from __future__ import annotations

import click

from reconciler.actions import Verb
from reconciler.apply import NOT_MADE_ANEW, Outcome, Result, waited_for
from reconciler.cli.render import COLOURS, place_text
from reconciler.cli.table import printable


def told(outcome: Outcome) -> tuple[str, str, bool] | None:
    """The line, its colour, and whether it is about a failure; None for what needs none."""
    action = outcome.action
    if is_first_half(outcome):
        return None
    if outcome.ok:
        return f"{printable(action.describe())}  ({outcome.seconds * 1000:.0f} ms)", COLOURS[action.symbol], False
    where = place_text(action.place)
    gone = f"; {NOT_MADE_ANEW}" if outcome.gone else ""
    if outcome.result is Result.SKIPPED:
        return f"! {action.key} skipped: {waited_for(outcome)}{gone}{where}", "yellow", False
    return f"! {action.key} {action.verb} failed: {printable(why(outcome))}{gone}{where}", "red", True


def why(outcome: Outcome) -> str:
    """The error without the object's name, which the line names already; empty where nothing failed."""
    error = outcome.error
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error or "").removeprefix(str(outcome.action.key)).removeprefix(":").lstrip()


def is_first_half(outcome: Outcome) -> bool:
    """The deletion of a replacement that went well: its creation is told."""
    return outcome.action.replaces and outcome.action.verb is Verb.DELETE and outcome.ok


def tell(outcome: Outcome) -> None:
    """Print the outcome's line, if it has one; a failure goes to standard error."""
    if (line := told(outcome)) is not None:
        text, colour, failed = line
        click.secho(text, fg=colour, err=failed)
