"""Carry out a plan before somebody's eyes: under the lock, each action told as it happens, one summary at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from reconciler.actions import Note
from reconciler.apply import Outcome, Result, Stop, counted, never
from reconciler.cli.interrupt import INTERRUPTED, interruptible
from reconciler.cli.live import Display, display
from reconciler.cli.quantities import objects_are
from reconciler.cli.render import note_rows, place_text
from reconciler.cli.rolling import Pass, as_asked, carry_on, is_under_way, is_watched, stalled_rollouts, together
from reconciler.cli.show import show_plan
from reconciler.cli.tell import place_of, why
from reconciler.engine import open_engine
from reconciler.found_data import data_elsewhere
from reconciler.lock import engine_lock
from reconciler.prune import orphans_told
from reconciler.reconcile import Asked, Prepared, carry_out, prepare
from reconciler.settle import STEADY_SECONDS, unsettled
from runtime.layout import Layout
from runtime.volumes.volume import read_volume
from schemas.errors import TrimtabError
from schemas.field_path import format_path
from schemas.names import Key, Kind


@dataclass(frozen=True, slots=True)
class Acting:
    """How: actions at once, whether at all, whether to look if what was started goes on running, seconds to wait for
    the lock, the format, and seconds after which no action begins (None: no limit)."""

    parallel: int
    dry_run: bool
    wait: bool
    lock_seconds: float
    output: str
    limit_seconds: float | None = None


def act(layout: Layout, asked: Asked, acting: Acting) -> int:
    """The exit code: 0 converged, 1 something failed, 130 interrupted. Raises what refuses the whole."""
    waiting: dict[str, str] = {}
    passed = _deadline(acting.limit_seconds)
    with engine_lock(layout.lock, acting.lock_seconds), open_engine(layout) as engine:
        if acting.dry_run:
            show_plan(prepare(engine, asked).plan, asked.set, acting.output)
            return 0
        with display(quiet=acting.output == "json") as shown, interruptible() as interrupted:
            prepared = prepare(engine, asked, shown.report)
            stop = _either(interrupted, passed)
            passes = [Pass(prepared, carry_out(prepared, shown.watch, acting.parallel, stop))]
        wished = as_asked(engine, asked.set) if is_under_way(passes[0]) else {}
        if acting.wait and not stop():
            waiting = unsettled(prepared, passes[0].outcomes, STEADY_SECONDS)
    if acting.wait and is_under_way(passes[0]) and not stop():
        waiting = {key: why for key, why in waiting.items() if not is_watched(prepared, key)}
        with display(quiet=acting.output == "json") as shown, interruptible() as interrupted:
            stop = _either(interrupted, passed)
            _tell_of_rollouts(prepared, acting)
            passes += carry_on(layout, passes[0], partial(_pass, layout, asked, acting, shown, stop, wished), stop)
    outcomes, waiting = together(passes), waiting | stalled_rollouts(passes[-1].prepared)
    status = _sum_up(passes, outcomes, waiting, acting)
    left = sum(1 for outcome in outcomes if outcome.result is Result.SKIPPED)
    if acting.wait and is_under_way(passes[-1]):
        status = status or 1
        left += 1
    if not left or not stop():
        return status
    cause = "interrupted" if interrupted() else f"the {acting.limit_seconds:g} s of --timeout have passed"
    click.echo(f"trimtab: {cause}; the next apply does the rest", err=True)
    return INTERRUPTED if interrupted() else status


def _pass(
    layout: Layout, asked: Asked, acting: Acting, shown: Display, stop: Stop, wished: Mapping[Key, Mapping[str, Any]]
) -> Pass | None:
    """None where somebody else has asked for something else meanwhile: that counts."""
    with engine_lock(layout.lock, acting.lock_seconds), open_engine(layout) as engine:
        if as_asked(engine, asked.set) != wished:
            click.echo(f"trimtab: somebody else has changed the set {asked.set} meanwhile; this apply ends", err=True)
            return None
        prepared = prepare(engine, asked, shown.report)
        return Pass(prepared, carry_out(prepared, shown.watch, acting.parallel, stop))


def _tell_of_rollouts(prepared: Prepared, acting: Acting) -> None:
    if acting.output != "json":
        for note in prepared.rolled.notes:
            click.secho(f"note: {note.describe()}", fg="cyan", err=True)


def _deadline(seconds: float | None) -> Stop:
    if seconds is None:
        return never
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def _either(first: Stop, second: Stop) -> Stop:
    return lambda: first() or second()


def _sum_up(passes: Sequence[Pass], outcomes: Sequence[Outcome], waiting: dict[str, str], acting: Acting) -> int:
    prepared = passes[0].prepared
    failed = [outcome for outcome in outcomes if not outcome.ok]
    if acting.output == "json":
        click.echo(json.dumps(_document(prepared, outcomes, waiting), indent=2, ensure_ascii=False))
    else:
        places = {str(key): place_text(want.place) for key, want in prepared.context.desired.items()}
        for key, amiss in waiting.items():
            click.secho(f"! {key} {amiss}{places.get(key, '')}", fg="red", err=True)
        told = prepared.rolled.notes if len(passes) > 1 or waiting else ()
        for note in prepared.plan.notes if not prepared.plan.empty or prepared.plan.later else ():
            if note in told:
                continue
            click.secho(f"note: {note.describe()}", fg="cyan", err=True)
        for note in kept_data(prepared, outcomes):
            click.secho(f"note: {note.describe()}", fg="cyan", err=True)
        prepared = passes[-1].prepared
        if prepared.plan.orphans:
            click.secho(f"note: {orphans_told(prepared.plan.orphans, prepared.asked.set)}", fg="cyan", err=True)
        click.echo(summary(outcomes, later=len(prepared.plan.later)))
    return 1 if failed or waiting else 0


def kept_data(prepared: Prepared, outcomes: Sequence[Outcome]) -> Iterator[Note]:
    """A sentence for each volume that was deleted and whose files stay, and where."""
    layout = prepared.context.engine.layout
    for outcome in outcomes:
        key = outcome.action.key
        if key.kind is not Kind.VOLUME or outcome.result is not Result.DELETED or outcome.action.replaces:
            continue
        volume = read_volume(layout, key.name)
        if volume is not None and not volume.registered:
            elsewhere = data_elsewhere(volume)
            remedy = "" if elsewhere else f"; `trimtab volume rm {key.name}` deletes that too"
            yield Note(key, f"is deleted, its data is kept in {elsewhere or volume.path}{remedy}")


def summary(outcomes: Sequence[Outcome], later: int = 0) -> str:
    """`Applied: 3 created, 2 unchanged.`, or that there was nothing to do. `later`: replicas whose turn comes."""
    if later:
        counts = {str(result): count for result, count in counted(outcomes).items()} | {"later": later}
        return "Applied: " + ", ".join(f"{count} {result}" for result, count in counts.items()) + "."
    if all(outcome.result is Result.UNCHANGED for outcome in outcomes):
        return f"Nothing to do: {objects_are(len(outcomes))} as declared."
    return "Applied: " + ", ".join(f"{count} {result}" for result, count in counted(outcomes).items()) + "."


def _document(prepared: Prepared, outcomes: Sequence[Outcome], waiting: dict[str, str]) -> dict[str, object]:
    rows = [
        {
            "object": str(outcome.action.key),
            "action": outcome.action.verb.value,
            "result": outcome.result.value,
            "reason": outcome.action.reason,
            "milliseconds": round(outcome.seconds * 1000, 1),
            "place": str(outcome.action.place) if outcome.action.place else None,
            "error": why(outcome) or None,
            "field": format_path(outcome.error.field) or None if isinstance(outcome.error, TrimtabError) else None,
            "fieldPlace": str(where) if (where := place_of(outcome)) else None,
        }
        for outcome in outcomes
    ]
    return {
        "apiVersion": "trimtab/v1",
        "kind": "Outcome",
        "set": prepared.asked.set,
        "outcomes": rows,
        "notReady": waiting,
        "notes": note_rows((*prepared.plan.notes, *kept_data(prepared, outcomes))),
        "orphans": [str(key) for key in prepared.plan.orphans],
    }
