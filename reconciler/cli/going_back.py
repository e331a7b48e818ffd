"""The work of `trimtab rollback` and `diff --against`: find the revision, ask for it, pin the set."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import click

from reconciler.caller import by_person, caller
from reconciler.cli.acting import Acting, act
from reconciler.cli.revision_rows import unknown_set
from reconciler.cli.selection import read_key, unknown
from reconciler.cli.show import show_plan
from reconciler.engine import open_engine
from reconciler.history import going_back, going_back_for, passed_over, revision_that_has, revision_to
from reconciler.reconcile import Asked, prepare
from reconciler.store.database import Database
from reconciler.store.inventory import read_inventory, read_sets
from reconciler.store.pins import Pin, read_pin, remove_pin, write_pin
from reconciler.store.revisions import BY_SOURCE, Revision, read_revision, read_revisions
from runtime.layout import Layout
from schemas.errors import Refused, TrimtabError


def roll_back(layout: Layout, what: str | None, number: int | None, acting: Acting) -> int:
    """The exit code, as of `act`."""
    with open_engine(layout) as engine:
        revision, asked = _find(engine.database, what, number)
        revisions = read_revisions(engine.database, revision.set)
        offered = _offered(revisions)
    if acting.output == "text":
        over = passed_over(revisions, revision) if number is None and not _is_object(what) else []
        click.echo(f"Going back to revision {revision.id} of {revision.set}{_told(over)}.", err=True)
    asked = replace(asked, cause=by_person(asked.cause))
    if offered is None or acting.dry_run:
        return act(layout, asked, acting)
    with _pinned(layout, Pin(revision.set, revision.id, offered, time.time())):
        status = act(layout, asked, acting)
    click.echo(f"{revision.set} stays at revision {revision.id} until its source has something new.", err=True)
    return status


def _is_object(what: str | None) -> bool:
    """Whether `container/web` is meant rather than a set."""
    return what is not None and "/" in what


def _told(over: Sequence[int]) -> str:
    """Which deletions are passed over, and the way to the newest of them."""
    if not over:
        return ""
    names = ", ".join(map(str, over))
    are = "revision {} is a deletion" if len(over) == 1 else "revisions {} are deletions"
    return f" ({are.format(names)}: `--to {over[-1]}` goes there)"


@contextmanager
def _pinned(layout: Layout, pin: Pin) -> Iterator[None]:
    """Before anything is asked for otherwise, lest the source put it back. What refuses the whole ends the pin too."""
    with open_engine(layout) as engine:
        before = read_pin(engine.database, pin.set)
        write_pin(engine.database, pin)
        try:
            yield
        except TrimtabError:
            remove_pin(engine.database, pin.set)
            if before is not None:
                write_pin(engine.database, before)
            raise


def _offered(revisions: Sequence[Revision]) -> str | None:
    """The commit that a source offered last, empty for a directory's; None where no source feeds the set."""
    return next((each.commit for each in reversed(revisions) if each.cause.startswith(BY_SOURCE)), None)


def show_difference(layout: Layout, number: int, output: str) -> int:
    """What going back to a revision would change; 0: nothing, 1: something."""
    with open_engine(layout) as engine:
        revision = read_revision(engine.database, number)
        if revision is None:
            raise Refused(f"there is no revision {number}", hint="`trimtab history` lists what there is")
        plan = prepare(engine, going_back(engine.database, revision, caller().environment)).plan
    show_plan(plan, revision.set, output)
    return 0 if plan.empty else 1


def _find(database: Database, what: str | None, number: int | None) -> tuple[Revision, Asked]:
    if what is None or not _is_object(what):
        revision = revision_to(database, _set_named(database, what, number), number)
        return revision, going_back(database, revision, caller().environment)
    key, inventory = read_key(what), read_inventory(database)
    if key not in inventory:
        raise unknown(key, inventory)
    revision = revision_that_has(database, inventory[key].set, key, number)
    return revision, going_back_for(database, revision, key, caller().environment)


def _set_named(database: Database, name: str | None, number: int | None) -> str:
    """A set may be left out where a revision names it, or where there is only one."""
    if name is not None:
        if not read_revisions(database, name):
            raise unknown_set(database, name)
        return name
    if number is not None and (revision := read_revision(database, number)) is not None:
        return revision.set
    known = list(read_sets(database))
    if len(known) == 1:
        return known[0]
    hint = f"name one of {', '.join(known)}" if known else "nothing was applied yet"
    raise Refused("which set is meant?", hint=hint)
