"""Carry out a plan before somebody's eyes: under the lock, each action told as it happens, one summary at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import click

from reconciler.actions import Action, Verb
from reconciler.apply import Outcome, Result, Watch
from reconciler.cli.render import COLOURS
from reconciler.cli.show import show_plan
from reconciler.engine import open_engine
from reconciler.lock import engine_lock
from reconciler.reconcile import Asked, Prepared, carry_out, prepare
from reconciler.settle import unsettled
from runtime.layout import Layout


@dataclass(frozen=True, slots=True)
class Acting:
    """How: actions at once, whether at all, how long to wait for the result (None: not), for the lock, the format."""

    parallel: int
    dry_run: bool
    wait_seconds: float | None
    lock_seconds: float
    output: str


def act(layout: Layout, asked: Asked, acting: Acting) -> int:
    """The exit code: 0 converged, 1 something failed. Raises what refuses the whole."""
    with engine_lock(layout.lock, acting.lock_seconds), open_engine(layout) as engine:
        prepared = prepare(engine, asked)
        if acting.dry_run:
            show_plan(prepared.plan, asked.set, acting.output)
            return 0
        outcomes = carry_out(prepared, _teller(acting), acting.parallel)
        waiting = unsettled(prepared, acting.wait_seconds) if acting.wait_seconds is not None else {}
    return _sum_up(prepared, outcomes, waiting, acting)


def _tell(action: Action, outcome: Outcome | None) -> None:
    """One plain line for each action that ended."""
    if outcome is None or _is_first_half(outcome):
        return
    if outcome.ok:
        click.secho(f"{action.describe()}  ({outcome.seconds * 1000:.0f} ms)", fg=COLOURS[action.symbol])
    elif outcome.result is Result.SKIPPED:
        click.secho(f"! {action.key} skipped: {outcome.waits_for} did not succeed", fg="yellow")
    else:
        click.secho(f"! {action.key} {action.verb} failed: {outcome.error}", fg="red", err=True)


def _silent(action: Action, outcome: Outcome | None) -> None:
    return None


def _teller(acting: Acting) -> Watch:
    return _silent if acting.output == "json" else _tell


def _sum_up(prepared: Prepared, outcomes: Sequence[Outcome], waiting: dict[str, str], acting: Acting) -> int:
    failed = [outcome for outcome in outcomes if not outcome.ok]
    if acting.output == "json":
        click.echo(json.dumps(_document(prepared, outcomes, waiting), indent=2, ensure_ascii=False))
    else:
        for key, why in waiting.items():
            click.secho(f"! {key} {why}", fg="red", err=True)
        click.echo(summary(outcomes))
    return 1 if failed or waiting else 0


def summary(outcomes: Sequence[Outcome]) -> str:
    """`Applied: 3 created, 2 unchanged.`, or that there was nothing to do."""
    if all(outcome.result is Result.UNCHANGED for outcome in outcomes):
        return f"Nothing to do: {len(outcomes)} objects are as declared."
    counts = {
        result: sum(1 for outcome in outcomes if outcome.result is result and not _is_first_half(outcome))
        for result in Result
    }
    return "Applied: " + ", ".join(f"{count} {result}" for result, count in counts.items() if count) + "."


def _is_first_half(outcome: Outcome) -> bool:
    return outcome.action.replaces and outcome.action.verb is Verb.DELETE and outcome.ok


def _document(prepared: Prepared, outcomes: Sequence[Outcome], waiting: dict[str, str]) -> dict[str, object]:
    rows = [
        {
            "object": str(outcome.action.key),
            "action": outcome.action.verb.value,
            "result": outcome.result.value,
            "reason": outcome.action.reason,
            "milliseconds": round(outcome.seconds * 1000, 1),
            "error": str(outcome.error) if outcome.error else None,
        }
        for outcome in outcomes
    ]
    return {
        "apiVersion": "trimtab/v1",
        "kind": "Outcome",
        "set": prepared.asked.set,
        "outcomes": rows,
        "notReady": waiting,
    }
