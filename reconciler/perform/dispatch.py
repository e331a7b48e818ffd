"""Do one action: make an object as desired, or take it away, by the module of its kind.

A record is written before its object is made and removed after its object is gone, so that a crash between any two
steps leaves something the next pass finds by name and finishes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext

from reconciler.actions import Action, Verb
from reconciler.desired import Desired, Observed
from reconciler.perform import containers, contents, images, networks, services, sources, volumes
from reconciler.perform.absent import absence_heals
from reconciler.perform.context import Context
from reconciler.perform.placing import located
from reconciler.store.inventory import forget
from reconciler.store.records import Record, remove_record, write_record
from schemas.names import Key, Kind

Ensure = Callable[[Context, Desired, Observed | None, Action], None]
Remove = Callable[[Context, Key, Observed | None, Action], None]

ENSURE: Mapping[Kind, Ensure] = {
    Kind.IMAGE: images.ensure,
    Kind.CONTAINER: containers.ensure,
    Kind.VOLUME: volumes.ensure,
    Kind.NETWORK: networks.ensure,
    Kind.SERVICE: services.ensure,
    Kind.SECRET: contents.ensure,
    Kind.CONFIG: contents.ensure,
    Kind.SOURCE: sources.ensure,
}
REMOVE: Mapping[Kind, Remove] = {
    Kind.IMAGE: images.remove,
    Kind.CONTAINER: containers.remove,
    Kind.VOLUME: volumes.remove,
    Kind.NETWORK: networks.remove,
    Kind.SERVICE: services.remove,
    Kind.SECRET: contents.remove,
    Kind.CONFIG: contents.remove,
    Kind.SOURCE: sources.remove,
}


def perform(context: Context, action: Action) -> None:
    """Raises Refused, RetryLater, OSError; what was done until then is found by the next pass."""
    key = action.key
    have = context.observed.get(key)
    if action.verb is Verb.DELETE:
        with located(context.desired[key]) if action.replaces else nullcontext():
            REMOVE[key.kind](context, key, have, action)
        with context.engine.database.begin():
            remove_record(context.engine.database, key)
            if not action.replaces:
                forget(context.engine.database, key)
        return
    want = context.desired[key]
    record(context, want)
    with located(want), absence_heals():
        ENSURE[key.kind](context, want, None if action.replaces else have, action)


def record(context: Context, want: Desired) -> None:
    """Write down what is about to be made."""
    made = Record(want.key, want.fields, want.facts, want.needs, want.owner, context.set, context.now)
    write_record(context.engine.database, made)
