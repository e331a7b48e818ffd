"""What all sets ask for, kept until the store says otherwise. Read in a worker's thread, used in the loop's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.desired import Desired
from reconciler.engine import Engine
from reconciler.intent import Declarations, Intent, intend
from reconciler.resolve.world import Leases
from reconciler.sources.followed import told_of_sets
from reconciler.store.inventory import Entry, asked_version, read_inventory
from reconciler.store.leases import read_leases
from reconciler.store.records import read_records
from reconciler.store.standing import Topic, read_standing
from schemas.errors import TrimtabError
from schemas.names import Key


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything asked for. `faults`: sets that cannot be resolved any more, and why."""

    intents: Mapping[str, Intent] = field(default_factory=dict)
    inventory: Mapping[Key, Entry] = field(default_factory=dict)
    desired: Mapping[Key, Desired] = field(default_factory=dict)
    set_of: Mapping[Key, str] = field(default_factory=dict)
    users: Mapping[Key, tuple[Key, ...]] = field(default_factory=dict)
    """Who needs an object, whichever set it is of."""
    faults: Mapping[str, TrimtabError] = field(default_factory=dict)
    steering: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What was said of objects (`Container/db`) and sets (`set/shop`) beside their manifests, by hand or by Sources."""
    restarts: Mapping[str, int] = field(default_factory=dict)
    """In a row, by container, as they were stored last."""
    leases: Leases | None = None
    """To be recorded before anything is made; None where they stand recorded."""
    fresh: frozenset[Key] = frozenset()
    """What is wanted otherwise than before it was read this time."""
    version: int = -1
    """Of the store when it was read (pragma data_version)."""
    asked: int = -1
    """Of what was asked, when it was read."""

    def by_set(self, keys: Iterable[Key]) -> dict[str, set[Key]]:
        found: dict[str, set[Key]] = {}
        for key in keys:
            if key in self.set_of:
                found.setdefault(self.set_of[key], set()).add(key)
        return found


def read_wanted(engine: Engine, declarations: Declarations) -> Wanted:
    """From the store. A set that cannot be resolved is left out, and told among the faults."""
    version, asked = data_version(engine), asked_version(engine.database)
    inventory, records = read_inventory(engine.database), read_records(engine.database)
    declared = declarations.read(inventory)
    intents: dict[str, Intent] = {}
    faults: dict[str, TrimtabError] = {}
    stored: Leases = read_leases(engine.database)
    leases = stored
    for name in sorted({entry.set for entry in inventory.values()}):
        try:
            # each after the other: what one is given, the next is not
            intents[name] = intend(engine, name, inventory, declared, records, leases)
            leases = intents[name].resolved.leases
        except TrimtabError as error:
            faults[name] = error
    joined = _joined(intents, inventory, faults, leases if leases != stored else None, version)
    return replace(
        joined,
        asked=asked,
        steering=_steering(told_of_sets(declared.values()), read_standing(engine.database, Topic.STEERING)),
        restarts=read_standing(engine.database, Topic.RESTARTS),
    )


def _steering(
    by_sources: Mapping[str, Mapping[str, Any]], by_hand: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """By scope. Of two words on one thing, what was said by hand counts."""
    scopes = by_sources.keys() | by_hand.keys()
    return {scope: {**by_sources.get(scope, {}), **by_hand.get(scope, {})} for scope in scopes}


def data_version(engine: Engine) -> int:
    """Changes with every commit of another connection (pragma data_version)."""
    version: int = engine.database.connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def _joined(
    intents: Mapping[str, Intent],
    inventory: Mapping[Key, Entry],
    faults: Mapping[str, TrimtabError],
    leases: Leases | None,
    version: int,
) -> Wanted:
    desired: dict[Key, Desired] = {}
    set_of: dict[Key, str] = {}
    users: dict[Key, tuple[Key, ...]] = {}
    for name, intent in intents.items():
        desired |= intent.desired
        set_of |= dict.fromkeys(intent.desired, name)
        for key, by in intent.users.items():
            users[key] = (*users.get(key, ()), *by)
    return Wanted(intents, inventory, desired, set_of, users, faults, leases=leases, version=version)


def changed(before: Wanted, after: Wanted) -> set[Key]:
    """What is wanted differently, or newly."""
    return {
        key for key, want in after.desired.items() if key not in before.desired or not _equal(before.desired[key], want)
    }


def _equal(one: Desired, other: Desired) -> bool:
    return one is other or (one.fields, one.facts, one.needs) == (other.fields, other.facts, other.needs)
