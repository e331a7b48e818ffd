"""The work of `suspend`, `resume` and `reconcile`: notes that the loop heeds, and a pass over a few objects."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from reconciler.apply import Outcome, Result
from reconciler.caller import caller
from reconciler.cli.interrupt import interruptible
from reconciler.cli.selection import read_key
from reconciler.cli.tell import tell
from reconciler.desired import Desired
from reconciler.engine import Engine, open_engine
from reconciler.intent import Declarations, Intent
from reconciler.lock import engine_lock
from reconciler.loop.wanted import Wanted, read_wanted
from reconciler.partial import carry_out_part, prepare_part
from reconciler.rollouts.looking import read_rollouts, write_rollouts
from reconciler.rollouts.parts import roll_part, services_of, surplus_of
from reconciler.rollouts.passing import after_actions, urged_by_rollouts
from reconciler.rollouts.state import Rollout
from reconciler.rollouts.waiting import Watch
from reconciler.store.inventory import known_sets, read_inventory
from reconciler.store.leases import record_leases
from reconciler.store.standing import Topic, read_one, write_standing
from runtime.layout import Layout
from schemas.errors import Missing, Refused
from schemas.names import Key

SET = "set/"
PARALLEL = 4


def suspend(layout: Layout, names: Sequence[str]) -> None:
    """Raises Missing for what is not there."""
    _note(layout, names, suspended=True)


def resume(layout: Layout, names: Sequence[str]) -> None:
    """Raises Missing for what is not there."""
    _note(layout, names, suspended=False)


def _note(layout: Layout, names: Sequence[str], *, suspended: bool) -> None:
    with open_engine(layout) as engine:
        scopes = [scope_of(engine, name) for name in names]
        for scope in scopes:
            told = {**(read_one(engine.database, Topic.STEERING, scope) or {}), "at": time.time()}
            told.pop("suspended", None)
            write_standing(engine.database, Topic.STEERING, {scope: told | ({"suspended": True} if suspended else {})})
            click.echo(f"{scope} {'suspended' if suspended else 'resumed'}")


def scope_of(engine: Engine, name: str) -> str:
    """`Container/db` or `set/shop`. Raises Missing, Refused."""
    if name.startswith(SET):
        known = known_sets(engine.database)
        if name.removeprefix(SET) not in known:
            raise Missing(f"there is no {name}", hint=f"there are: {', '.join(known) or 'none'}")
        return name
    from reconciler.cli.describing import find_key

    key = find_key(engine, name)
    if key not in read_wanted(engine, Declarations()).desired:
        raise Missing(f"no manifest asks for {key}", hint="`trimtab get` lists what there is")
    return str(key)


def keys_of(scope: str, wanted: Wanted) -> set[Key]:
    """The objects meant, with the replicas of a Service."""
    if scope.startswith(SET):
        return {key for key, of in wanted.set_of.items() if of == scope.removeprefix(SET)}
    key = read_key(scope)
    return {key, *(other for other, want in wanted.desired.items() if want.owner == key)}


def reconcile(layout: Layout, names: Sequence[str], lock_seconds: float) -> int:
    """The exit code. Raises Refused for sets that cannot be resolved any more. Rollouts are tried again, and carried
    through."""
    with engine_lock(layout.lock, lock_seconds), open_engine(layout) as engine:
        scopes = [scope_of(engine, name) for name in names]
        _try_again(engine, scopes)
        passes = [_pass(engine, scopes)]
        for scope in scopes:
            told = {**(read_one(engine.database, Topic.STEERING, scope) or {}), "at": time.time()}
            write_standing(engine.database, Topic.STEERING, {scope: told})
    with interruptible() as interrupted:
        while (states := passes[-1].under_way) and not interrupted():
            with open_engine(layout) as engine:
                watch = Watch(engine, passes[-1].desired, passes[-1].later, checks=not caller().is_remote)
                watch.until_work(states, interrupted)
            with engine_lock(layout.lock, lock_seconds), open_engine(layout) as engine:
                passes.append(_pass(engine, scopes))
    outcomes = [outcome for made in passes for outcome in made.outcomes if outcome.result is not Result.UNCHANGED]
    for outcome in outcomes:
        tell(outcome)
    for key, why in passes[-1].stalled.items():
        click.secho(f"! {key} {why}", fg="red", err=True)
    if not outcomes and not passes[-1].stalled:
        click.echo("Nothing to do: as declared.")
    return 0 if all(outcome.ok for outcome in outcomes) and not passes[-1].stalled else 1


@dataclass(slots=True)
class _Pass:
    """What came of one pass, and of rollouts what is still to be done."""

    outcomes: list[Outcome] = field(default_factory=list)
    desired: dict[Key, Desired] = field(default_factory=dict)
    states: dict[Key, Rollout] = field(default_factory=dict)
    later: set[Key] = field(default_factory=set)

    @property
    def under_way(self) -> dict[Key, Rollout]:
        return {key: state for key, state in self.states.items() if state.under_way}

    @property
    def stalled(self) -> dict[Key, str]:
        return {key: state.stalled for key, state in self.states.items() if state.stalled}


def _try_again(engine: Engine, scopes: Sequence[str]) -> None:
    """Rollouts of these that were halted or taken back begin anew."""
    inventory = read_inventory(engine.database)
    for service, state in read_rollouts(engine.database).items():
        entry = inventory.get(service)
        asked = str(service) in scopes or (entry is not None and f"{SET}{entry.set}" in scopes)
        if asked and state.stalled:
            write_rollouts(engine.database, {service: state.again()})


def _pass(engine: Engine, scopes: Sequence[str]) -> _Pass:
    made = _Pass()
    renew = True
    while renew:
        wanted = read_wanted(engine, Declarations())
        for error in wanted.faults.values():
            raise Refused(str(error), step="reconcile") from error
        if wanted.leases is not None:
            record_leases(engine.database, wanted.leases)
        keys = set().union(*(keys_of(scope, wanted) for scope in scopes))
        made.desired = dict(wanted.desired)
        found = [_pass_over(engine, made, wanted.intents[name], own) for name, own in wanted.by_set(keys).items()]
        renew = any(found)
    return made


def _pass_over(engine: Engine, made: _Pass, intent: Intent, keys: set[Key]) -> bool:
    """Whether something else is wanted by it than was read before."""
    states = read_rollouts(engine.database)
    services = services_of(keys, intent.desired, states)
    urged = urged_by_rollouts(engine, {key: states[key] for key in services if key in states})
    surplus = surplus_of(engine, intent, services)
    part = prepare_part(engine, intent, {*keys, *services}, urged=urged, surplus=surplus)
    part, rolled = roll_part(engine, part, services, states, time.time())
    write_rollouts(engine.database, rolled.states, time.time())
    outcomes = carry_out_part(engine, part, lambda action, outcome: None, PARALLEL)
    write_rollouts(engine.database, after_actions(rolled.states, outcomes))
    made.outcomes += outcomes
    made.states |= rolled.states
    made.later = (made.later - part.keys) | set(part.plan.later)
    return bool(rolled.renew)
