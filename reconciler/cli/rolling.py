"""Carry rollouts through, pass after pass: what `apply` does after its first pass, as long as it waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.apply import Outcome, Result, Stop
from reconciler.caller import caller
from reconciler.engine import Engine, open_engine
from reconciler.reconcile import Prepared
from reconciler.rollouts.waiting import Watch
from reconciler.store.inventory import read_inventory
from runtime.layout import Layout
from schemas.names import Key


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of an apply, and what came of it."""

    prepared: Prepared
    outcomes: list[Outcome]


def is_under_way(made: Pass) -> bool:
    """Whether replicas are still to be replaced, or watched."""
    return any(state.under_way for state in made.prepared.rolled.states.values())


def is_watched(prepared: Prepared, name: str) -> bool:
    """Whether a container is a replica of a rollout, which tells by itself how that goes."""
    want = prepared.context.desired.get(Key.parse(name))
    return want is not None and want.owner in prepared.rolled.states


def as_asked(engine: Engine, set_name: str) -> dict[Key, Mapping[str, Any]]:
    """What the set asks for now."""
    inventory = read_inventory(engine.database)
    return {key: entry.manifest for key, entry in inventory.items() if entry.set == set_name}


def carry_on(layout: Layout, first: Pass, again: Callable[[], Pass | None], stop: Stop) -> list[Pass]:
    """The passes after the first, until all rollouts have ended, `stop` says so, or there is nothing to go on with."""
    passes = [first]
    while is_under_way(passes[-1]) and not stop():
        prepared = passes[-1].prepared
        with open_engine(layout) as engine:
            watch = Watch(engine, prepared.context.desired, prepared.plan.later, checks=not caller().is_remote)
            watch.until_work(prepared.rolled.states, stop)
        if stop() or (made := again()) is None:
            break
        passes.append(made)
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
