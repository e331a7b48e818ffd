"""The line about an action that ended, the same on a terminal and elsewhere. Pure but for `tell`, which prints it."""

from __future__ import annotations

import click

from reconciler.apply import NOT_MADE_ANEW, Outcome, Result, is_first_half, reason_of, waited_for
from reconciler.cli.render import COLOURS, place_text
from reconciler.cli.table import printable
from schemas.errors import Place


def told(outcome: Outcome) -> tuple[str, str, bool] | None:
    """The line, its colour, and whether it is about a failure; None for what needs none."""
    action = outcome.action
    if is_first_half(outcome):
        return None
    if outcome.ok:
        return f"{printable(action.describe())}  ({outcome.took * 1000:.0f} ms)", COLOURS[action.symbol], False
    if outcome.never_began:
        return None
    gone = f"; {NOT_MADE_ANEW}" if outcome.gone else ""
    if outcome.result is Result.SKIPPED:
        waits = printable(waited_for(outcome))
        return f"! {action.key} skipped: {waits}{gone}{place_text(action.place)}", "yellow", False
    first, *more = why(outcome).splitlines() or [""]
    where = f"  ({place})" if (place := place_of(outcome)) else place_text(action.place)
    below = "".join(f"\n    {printable(line, indented=True)}" for line in more)
    return f"! {action.key} {action.verb} failed: {printable(first)}{gone}{where}{below}", "red", True


def why(outcome: Outcome) -> str:
    """The error without the object's name, which the line names already; empty where nothing failed."""
    return reason_of(outcome.error, outcome.action.key) if outcome.error is not None else ""


def place_of(outcome: Outcome) -> Place | None:
    """Where the field stands that the failure is about; None where nobody knows."""
    return getattr(outcome.error, "place", None)


def tell(outcome: Outcome) -> None:
    """Print the outcome's line, if it has one; a failure goes to standard error."""
    if (line := told(outcome)) is not None:
        text, colour, failed = line
        click.secho(text, fg=colour, err=failed)
