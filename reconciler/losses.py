"""A volume whose files are gone: somebody, or a disk, took away what no apply can bring back.

It is made again empty as any drift is mended; here is what is said of it, in plans and as a Warning. An object that
was never made whole has lost nothing. Called by `reconcile`, for `diff`, `apply` and the daemon alike; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.actions import Action, Note, Plan, Verb
from reconciler.store.database import Database
from reconciler.store.events import read_events
from schemas.names import Kind

DATA_LOST = "its data is gone: an empty directory is made"
NOT_MADE = frozenset({"Failed", "Skipped"})
"""Reasons of the events of an object that has not come about yet."""


def loses_data(database: Database, action: Action) -> bool:
    """Whether the action makes a directory anew that has held a volume's files.

    Where a volume is a mount of something else, its directory holds nothing: then the mount differs, too.
    """
    if action.key.kind is not Kind.VOLUME or action.verb is not Verb.UPDATE:
        return False
    touched = {change.path[0] for change in action.changes if change.new is not None}
    if "data" not in touched or "mount" in touched:
        return False
    told = {event.reason for event in read_events(database, str(action.key))}
    return not told or not told <= NOT_MADE


def notes_on_losses(database: Database, plan: Plan) -> Iterator[Note]:
    """A sentence for each volume that comes back empty."""
    return (Note(action.key, DATA_LOST) for action in plan.effective if loses_data(database, action))
