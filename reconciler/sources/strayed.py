"""Whether a set is still as its source left it; if not, who changed it, what of it, and whether that may be put back.

Reads the store. What was only implied (an image named by reference) is nobody's word and does not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.resolve.expand import is_implied
from reconciler.sources.followed import STEERING, Followed
from reconciler.steering import Steering, steer
from reconciler.store.attempts import read_attempts
from reconciler.store.database import Database
from reconciler.store.inventory import Entry, asked_version, read_inventory
from reconciler.store.pins import Pin, read_pin
from reconciler.store.revisions import BY_SOURCE, read_revisions
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


def _named(keys: Iterable[Key], manifests: Mapping[Key, Mapping[str, Any]]) -> str:
    names = sorted(str(key) for key in keys if not is_implied(key, manifests[key]))
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
