"""Whether a set is still as its source left it; if not, who changed it, what of it, and whether that may be put back.

Reads the store. What was only implied (an image named by reference) is nobody's word and does not count.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from reconciler.actions import Effect
from reconciler.diff import diff_fields
from reconciler.resolve.expand import is_implied
from reconciler.sources.followed import STEERING, Followed
from reconciler.steering import Steering, steer
from reconciler.store.attempts import read_attempts
from reconciler.store.database import Database
from reconciler.store.inventory import Entry, asked_version, read_inventory
from reconciler.store.pins import Pin, read_pin
from reconciler.store.revisions import BY_SOURCE, Revision, newest_cause, read_revisions
from reconciler.store.standing import Topic, read_one
from schemas.names import Key

MOST_NAMES = 3
"""Of objects in a sentence."""


@dataclass(frozen=True, slots=True)
class SetNow:
    """A set as it stands: `asked` is a digest of its manifests, empty for a set of nothing."""

    asked: str
    pin: Pin | None
    steering: Steering


class Digests:
    """Of all sets; made anew only when something was asked for otherwise."""

    def __init__(self) -> None:
        self._version = -1
        self._found: dict[str, str] = {}

    def of(self, database: Database, set_name: str) -> str:
        """Empty for a set of nothing."""
        version = asked_version(database)
        if version != self._version:
            self._found, self._version = digests_of(read_inventory(database).values()), version
        return self._found.get(set_name, "")


def digests_of(entries: Iterable[Entry]) -> dict[str, str]:
    """By set."""
    asked: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for entry in entries:
        if not is_implied(entry.key, entry.manifest):
            asked.setdefault(entry.set, []).append((str(entry.key), entry.manifest))
    return {
        name: hashlib.sha256(json.dumps(sorted(each, key=_name), sort_keys=True).encode()).hexdigest()[:32]
        for name, each in asked.items()
    }


def _name(named: tuple[str, Mapping[str, Any]]) -> str:
    return named[0]


def read_set(database: Database, followed: Followed, engine: Steering, digests: Digests) -> SetNow:
    """`engine`: what the daemon's settings say."""
    by_hand = read_one(database, Topic.STEERING, f"set/{followed.set}") or {}
    said = {name: getattr(followed.spec, name) for name in STEERING} | by_hand
    steering = steer({}, None, said, engine)
    return SetNow(digests.of(database, followed.set), read_pin(database, followed.set), steering)


def strayed_from(database: Database, set_name: str) -> str | None:
    """The source that feeds the set, where the set is not as that has left it; None also for one applied by hand."""
    known = [(name, memory.good) for name, memory in read_attempts(database).items() if memory.good is not None]
    fed = next(((name, good.left) for name, good in known if good.set == set_name and good.left), None)
    if fed is None or digests_of(read_inventory(database).values()).get(set_name, "") == fed[1]:
        return None
    return fed[0]


def deed(database: Database, set_name: str) -> str:
    """`revision 7 (apply by ann) changed Container/db`: who it was that changed the set after its source, and what."""
    revisions = read_revisions(database, set_name)
    ours = next((each for each in reversed(revisions) if each.cause.startswith(BY_SOURCE)), None)
    newest = revisions[-1] if revisions and revisions[-1] is not ours else None
    who = f"revision {newest.id} ({newest.cause})" if newest is not None else "somebody"
    if ours is None:
        return f"{who} changed it"
    before = {entry.key: entry.manifest for entry in ours.entries}
    now = {key: entry.manifest for key, entry in read_inventory(database).items() if entry.set == set_name}
    deeds = {
        "added": _named(now.keys() - before.keys(), now),
        "changed": _named((key for key in now.keys() & before.keys() if now[key] != before[key]), now),
        "deleted": _named(before.keys() - now.keys(), before),
    }
    told = ", ".join(f"{verb} {names}" for verb, names in deeds.items() if names)
    return f"{who} {told or 'changed it'}"


def strays(database: Database, set_name: str) -> dict[Key, str]:
    """Objects of a set that somebody else has changed since its source applied it, and who changed what, in words.

    None of a set that no source feeds, that was rolled back on purpose, or of which something is being applied now.
    """
    if read_pin(database, set_name) is not None or newest_cause(database, set_name).startswith(BY_SOURCE):
        return {}
    if strayed_from(database, set_name) is None:
        return {}
    revisions = read_revisions(database, set_name)
    before = {entry.key: entry.manifest for entry in _applied_last(revisions)}
    now = {key: entry.manifest for key, entry in read_inventory(database).items() if entry.set == set_name}
    return {
        key: f"{_who(revisions, key)} {_what(before.get(key), manifest)}"
        for key, manifest in now.items()
        if before.get(key) != manifest and not is_implied(key, manifest)
    }


def _applied_last(revisions: Sequence[Revision]) -> Sequence[Entry]:
    ours = next((each for each in reversed(revisions) if each.cause.startswith(BY_SOURCE)), None)
    return ours.entries if ours is not None else ()


def _who(revisions: Sequence[Revision], key: Key) -> str:
    """The revision that asked for it as it is asked for now."""
    now = _asked_in(revisions[-1], key) if revisions else None
    same = takewhile(lambda each: _asked_in(each, key) == now, reversed(revisions))
    first = next(iter(deque(same, maxlen=1)), None)
    return f"revision {first.id} ({first.cause})" if first is not None else "somebody"


def _asked_in(revision: Revision, key: Key) -> Mapping[str, Any] | None:
    return next((entry.manifest for entry in revision.entries if entry.key == key), None)


def _what(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    if before is None:
        return "added it"
    changes = diff_fields(now, before, lambda path: Effect.LIVE, lambda path: None, secret=now["kind"] == "Secret")
    return f"changed {'; '.join(change.describe() for change in changes)}"


def _named(keys: Iterable[Key], manifests: Mapping[Key, Mapping[str, Any]]) -> str:
    names = sorted(str(key) for key in keys if not is_implied(key, manifests[key]))
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
