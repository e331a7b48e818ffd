"""The work of `suspend`, `resume` and `reconcile`: notes that the loop heeds, and a pass over a few objects."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from reconciler.apply import Outcome, Result
from reconciler.cli.selection import read_key
from reconciler.cli.tell import tell
from reconciler.engine import Engine, open_engine
from reconciler.intent import Declarations
from reconciler.lock import engine_lock
from reconciler.loop.wanted import Wanted, read_wanted
from reconciler.partial import carry_out_part, prepare_part
from reconciler.store.inventory import known_sets
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
    """The exit code. Raises Refused for sets that cannot be resolved any more."""
    outcomes: list[Outcome] = []
    with engine_lock(layout.lock, lock_seconds), open_engine(layout) as engine:
        scopes = [scope_of(engine, name) for name in names]
        wanted = read_wanted(engine, Declarations())
        for error in wanted.faults.values():
            raise Refused(str(error), step="reconcile") from error
        if wanted.leases is not None:
            record_leases(engine.database, wanted.leases)
        keys = set().union(*(keys_of(scope, wanted) for scope in scopes))
        for name, own in wanted.by_set(keys).items():
            part = prepare_part(engine, wanted.intents[name], own)
            outcomes += carry_out_part(engine, part, lambda action, outcome: None, PARALLEL)
        for scope in scopes:
            told = {**(read_one(engine.database, Topic.STEERING, scope) or {}), "at": time.time()}
            write_standing(engine.database, Topic.STEERING, {scope: told})
    acted = [outcome for outcome in outcomes if outcome.result is not Result.UNCHANGED]
    for outcome in acted:
        tell(outcome)
    if not acted:
        click.echo("Nothing to do: as declared.")
    return 0 if all(outcome.ok for outcome in outcomes) else 1
