"""Carry rollouts through, pass after pass: what `apply` does after its first pass, as long as it waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconciler.apply import Outcome, Result, Stop
from reconciler.caller import caller
from reconciler.engine import open_engine
from reconciler.reconcile import Prepared
from reconciler.rollouts.waiting import Watch
from runtime.layout import Layout


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of an apply, and what came of it."""

    prepared: Prepared
    outcomes: list[Outcome]


def is_under_way(made: Pass) -> bool:
    """Whether replicas are still to be replaced, or watched."""
    return any(state.under_way for state in made.prepared.rolled.states.values())


def carry_on(layout: Layout, first: Pass, again: Callable[[], Pass], stop: Stop) -> list[Pass]:
    """The passes after the first, until all rollouts have ended or `stop` says so."""
    passes = [first]
    while is_under_way(passes[-1]) and not stop():
        prepared = passes[-1].prepared
        with open_engine(layout) as engine:
            watch = Watch(engine, prepared.context.desired, prepared.plan.later, checks=not caller().is_remote)
            watch.until_work(prepared.rolled.states, stop)
        if not stop():
            passes.append(again())
    return passes[1:]


def together(passes: Sequence[Pass]) -> list[Outcome]:
    """The outcomes of all passes: what was acted on in one of them is not unchanged, and counts once."""
    acted = {each.action.step: each for made in passes for each in made.outcomes if each.result is not Result.UNCHANGED}
    touched = {step.key for step in acted}
    still = [each for each in passes[-1].outcomes if each.result is Result.UNCHANGED]
    return [*(each for each in still if each.action.key not in touched), *acted.values()]


def stalled_rollouts(prepared: Prepared) -> dict[str, str]:
    """Service -> why it does not come to what is asked for."""
    return {
        str(key): f"{state.stalled}; `trimtab reconcile service/{key.name}` tries again"
        for key, state in prepared.rolled.states.items()
        if state.stalled and key in prepared.context.desired
    }
