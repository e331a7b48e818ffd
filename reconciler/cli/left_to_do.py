"""What is still to be done about an object, and what of that which it stands on is in the way, each with its failure.

By the same plan that `reconcile` would carry out, made of what was applied last. Called by `why`; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.actions import Action, Verb
from reconciler.cli.columns import Row
from reconciler.cli.getting import look_at
from reconciler.cli.selection import Selection
from reconciler.cli.standing import Health
from reconciler.desired import Desired
from reconciler.engine import Engine
from reconciler.intent import Declarations, intend
from reconciler.partial import Part, closure, prepare_part
from reconciler.store.database import Database
from reconciler.store.events import read_events
from reconciler.store.inventory import read_inventory
from reconciler.store.leases import read_leases
from reconciler.store.records import read_records
from schemas.errors import TrimtabError
from schemas.names import Key

WELL = (Health.HEALTHY, Health.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Left:
    """`actions`: what is planned for the object itself; `failure`: why the last try failed, empty where it did not;
    `waits_for`: a sentence for each object that it stands on and that does not stand well."""

    actions: tuple[Action, ...] = ()
    failure: str = ""
    waits_for: tuple[str, ...] = ()


def left_to_do(engine: Engine, row: Row) -> Left:
    """Of an object that is looked at already."""
    key, owner = row.seen.key, row.seen.record.owner if row.seen.record is not None else None
    part = _part(engine, key, row.seen.set)
    actions = tuple(action for action in part.plan.effective if action.key == key) if part is not None else ()
    return Left(
        _once(actions), _failure(engine.database, key), tuple(_waits(engine, _needs(part, row) - {key, owner}, part))
    )


def _part(engine: Engine, key: Key, set_name: str) -> Part | None:
    """None for what no manifest asks for, and for a set that cannot be resolved any more."""
    inventory, records = read_inventory(engine.database), read_records(engine.database)
    declared = Declarations().read(inventory)
    try:
        intent = intend(engine, set_name, inventory, declared, records, read_leases(engine.database))
        return prepare_part(engine, intent, [key]) if key in intent.desired else None
    except TrimtabError:
        return None


def _once(actions: Iterable[Action]) -> tuple[Action, ...]:
    """Of a replacement one half."""
    return tuple(action for action in actions if not (action.replaces and action.verb is Verb.DELETE))


def _needs(part: Part | None, row: Row) -> set[Key]:
    """What it stands on, and what that stands on, without what may fail; the replicas of a Service with it."""
    if part is None:
        return set(row.seen.needs)
    desired = part.intent.desired
    required = {key: replace(want, needs=tuple(_required(want, desired))) for key, want in desired.items()}
    found = closure([row.seen.key], required)
    # of other sets, too
    return set(found) | {need for key in found for need in required[key].needs}


def _required(want: Desired, desired: Mapping[Key, Desired]) -> set[Key]:
    return {need for need in want.needs if need not in want.optional or _is_replica(need, want, desired)}


def _is_replica(need: Key, want: Desired, desired: Mapping[Key, Desired]) -> bool:
    return need in desired and desired[need].owner == want.key


def _waits(engine: Engine, needs: Iterable[Key], part: Part | None) -> Iterator[str]:
    known = {key: row for key, row in _rows(engine, needs).items() if row.standing.health not in WELL}
    planned: Mapping[Key, Action] = {action.key: action for action in part.plan.effective} if part is not None else {}
    for key in sorted(set(known) | {need for need in needs if need in planned}):
        status = known[key].standing.status if key in known else planned[key].reason
        failure = _failure(engine.database, key)
        yield f"{key}: {status}" + (f"; failed: {failure}" if failure else "")


def _rows(engine: Engine, keys: Iterable[Key]) -> dict[Key, Row]:
    """Of those that were asked for or made."""
    known = {*read_records(engine.database), *read_inventory(engine.database)}
    chosen = Selection(keys=tuple(key for key in keys if key in known))
    return {row.seen.key: row for row in look_at(engine, chosen)} if chosen.keys else {}


def _failure(database: Database, key: Key) -> str:
    """What its last event says, if that was a failure, without the sentence of the action that it begins with."""
    events = read_events(database, str(key), last=1)
    if not events or events[0].reason != "Failed":
        return ""
    told = events[0].message.partition("\n")[0]
    return told.rpartition(f": {key} ")[2]
