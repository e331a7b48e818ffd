"""Going back: which revision is meant, and what a pass has to be asked for to be there again.

A rollback is an apply of older manifests, with pruning of what came since; files that a manifest names (an env file, a
Secret's file) are read as they are now on the engine's machine (`reconciler.as_applied`).
Reads the store, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.as_applied import is_hidden
from reconciler.claims import declared_of
from reconciler.prune import Pruning
from reconciler.reconcile import Asked
from reconciler.resolve.expand import is_implied
from reconciler.store.database import Database
from reconciler.store.inventory import Entry, read_inventory
from reconciler.store.revisions import Revision, read_revision, read_revisions
from reconciler.store.sealed import Sealed, read_sealed
from schemas.errors import Refused
from schemas.names import Key


def revision_to(database: Database, set_name: str, number: int | None) -> Revision:
    """The revision named by `number`, else the newest earlier one that holds something, and something else than now.

    Raises Refused where there is none.
    """
    if number is None:
        return _one_before(database, read_revisions(database, set_name), set_name)
    found = read_revision(database, number)
    if found is None or found.set != set_name:
        whose = f"is of the set {found.set}" if found is not None else "does not exist"
        raise Refused(f"revision {number} {whose}", hint=f"`trimtab history {set_name}` lists those of {set_name}")
    return found


def _one_before(database: Database, revisions: Sequence[Revision], set_name: str) -> Revision:
    """Without the deletions: to go back to one of these takes everything away, which nobody means unasked."""
    *earlier, newest = revisions
    now = _asked_in(database, newest)
    others = (each for each in reversed(earlier) if holds_something(each) and _asked_in(database, each) != now)
    found = next(others, None)
    if found is None:
        empty = next((each.id for each in reversed(earlier) if not holds_something(each)), None)
        more = f"; `--to {empty}` goes back to the deletion" if empty is not None else ""
        raise Refused(
            f"the set {set_name} has no earlier revision to go back to",
            hint=f"`trimtab history` lists the sets and their revisions{more}",
        )
    return found


def holds_something(revision: Revision) -> bool:
    """Whether something was asked for; a deletion of the whole set is a revision that holds nothing."""
    return bool(_written(revision.entries))


def _asked_in(database: Database, revision: Revision) -> tuple[list[Mapping[str, object]], dict[Key, Sealed]]:
    """Its manifests, and what stood encrypted in them."""
    keys = [entry.key for entry in revision.entries]
    return [entry.manifest for entry in revision.entries], read_sealed(database, revision.set, revision.id, keys)


def passed_over(revisions: Sequence[Revision], chosen: Revision) -> list[int]:
    """The deletions between the revision gone back to and the newest, by number."""
    return [each.id for each in revisions[:-1] if each.id > chosen.id and not holds_something(each)]


def revision_that_has(database: Database, set_name: str, key: Key, number: int | None) -> Revision:
    """The revision named, else the newest where the object was asked for differently. Raises Refused."""
    if number is not None:
        return revision_to(database, set_name, number)
    now = manifest_in(read_inventory(database).values(), key)
    for revision in reversed(read_revisions(database, set_name)):
        if manifest_in(revision.entries, key) not in (None, now):
            return revision
    raise Refused(
        f"{key} has never been asked for differently", hint=f"`trimtab history {set_name}` lists what there was"
    )


def manifest_in(entries: Iterable[Entry], key: Key) -> Mapping[str, object] | None:
    """The object as it was asked for; None where it was not."""
    return next((entry.manifest for entry in entries if entry.key == key), None)


def going_back(database: Database, revision: Revision, environment: Mapping[str, str]) -> Asked:
    """The whole set as it was."""
    sealed = read_sealed(database, revision.set, revision.id, [entry.key for entry in revision.entries])
    return _asked(revision, _written(revision.entries), environment, Pruning(enabled=True, allow_empty=True), sealed)


def going_back_for(database: Database, revision: Revision, key: Key, environment: Mapping[str, str]) -> Asked:
    """One object as it was, the rest of its set as it is now. Raises Refused where the revision does not have it."""
    if manifest_in(revision.entries, key) is None:
        raise Refused(f"revision {revision.id} has no {key}", hint=f"`trimtab history {revision.set}` lists revisions")
    now = {entry.key: entry for entry in read_inventory(database).values() if entry.set == revision.set}
    now |= {entry.key: entry for entry in revision.entries if entry.key == key}
    newest = max((each.id for each in read_revisions(database, revision.set)), default=revision.id)
    sealed = read_sealed(database, revision.set, newest, now.keys() - {key})
    sealed |= read_sealed(database, revision.set, revision.id, [key])
    return _asked(revision, _written(now.values()), environment, Pruning(), sealed)


def _written(entries: Iterable[Entry]) -> list[Entry]:
    """Without what was only implied: it is implied again, if anything still does."""
    return [entry for entry in entries if not is_implied(entry.key, entry.manifest)]


def _asked(
    revision: Revision,
    entries: Iterable[Entry],
    environment: Mapping[str, str],
    pruning: Pruning,
    sealed: Mapping[Key, Sealed],
) -> Asked:
    cause = f"rollback to revision {revision.id}"
    declared = [declared_of(entry) for entry in entries]
    kept = {item.key: sealed[item.key] for item in declared if item.key in sealed and is_hidden(item)}
    return Asked(declared, revision.set, cause, environment, pruning, revision.commit, cause, again=True, sealed=kept)
