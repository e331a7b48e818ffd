"""What may be taken away: what the set's inventory holds and the manifests no longer do. Pure.

Never by guessing from labels, never another set's, never to zero without being told so, never what is marked
`trimtab/prune: disabled`, never what something that stays still needs. What was only implied (an image by its
reference, the network `default`) and stays for another set is that set's from then on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.actions import Note
from reconciler.desired import Desired
from reconciler.resolve.expand import is_implied
from reconciler.store.inventory import Entry
from reconciler.store.records import Record
from schemas.errors import Refused
from schemas.names import Key

PROTECTION = "trimtab/prune"
ASKED_FOR = "deletion was asked for"
MOST_TOLD = 5
"""Orphans that are told by their names."""


@dataclass(frozen=True, slots=True)
class Pruning:
    """`enabled`: `--prune`. `only`: `delete`: exactly these and what belongs to them, nothing else of the set.
    `reason`: why what is not desired goes."""

    enabled: bool = False
    allow_empty: bool = False
    only: frozenset[Key] | None = None
    reason: str = "no longer in the manifests"


NO_PRUNING = Pruning()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What goes and what stays.

    `delete`: key -> reason. `kept`: what would go, but for who needs it. `handed`: what another set owns from now
    on, by who of that set needs it. `forgotten`: entries of the inventory that never became anything.
    """

    delete: Mapping[Key, str] = field(default_factory=dict)
    kept: Mapping[Key, Key] = field(default_factory=dict)
    handed: Mapping[Key, Key] = field(default_factory=dict)
    forgotten: frozenset[Key] = frozenset()


def prune(
    desired: Mapping[Key, Desired],
    records: Mapping[Key, Record],
    inventory: Mapping[Key, Entry],
    set_name: str,
    pruning: Pruning,
) -> Pruned:
    """What goes and what stays. Raises Refused when everything would go and `--allow-empty` was not given."""
    own = {key: record for key, record in records.items() if record.set == set_name and key not in desired}
    chosen = {
        key: reason
        for key, record in own.items()
        if (reason := _reason(key, record.owner, desired, inventory, pruning)) is not None
    }
    if pruning.enabled and not desired and chosen and not pruning.allow_empty:
        raise Refused(
            f"the manifests are empty: all {len(chosen)} objects of the set {set_name} would be deleted",
            step="prune",
            hint="give --allow-empty if that is meant",
        )
    kept = _needed(chosen, records, desired)
    return Pruned(
        delete={key: reason for key, reason in chosen.items() if key not in kept},
        kept=kept,
        handed=_handed(kept, records, inventory, set_name),
        forgotten=frozenset(
            key
            for key, entry in inventory.items()
            if entry.set == set_name and key not in records and key not in desired
            if _reason(key, None, desired, inventory, pruning) is not None
        ),
    )


def orphans(
    desired: Mapping[Key, Desired],
    records: Mapping[Key, Record],
    inventory: Mapping[Key, Entry],
    set_name: str,
    pruning: Pruning,
) -> tuple[Key, ...]:
    """What somebody wrote once, the manifests no longer hold, and `--prune` would take away; none where it is given.

    Neither replicas, which go with their Service, nor what was only implied.
    """
    if pruning.enabled or pruning.only is not None:
        return ()
    would = prune(desired, records, inventory, set_name, Pruning(enabled=True, allow_empty=True))
    return tuple(
        sorted(
            key
            for key in would.delete
            if key in inventory and not is_implied(key, inventory[key].manifest)
            if records[key].owner is None
        )
    )


def orphans_told(keys: Sequence[Key], set_name: str, remedy: str = "--prune") -> str:
    """One line for all of them, and what would delete them."""
    shown = ", ".join(map(str, keys[:MOST_TOLD]))
    more = f" and {len(keys) - MOST_TOLD} more" if len(keys) > MOST_TOLD else ""
    stay, them = ("stays", "it") if len(keys) == 1 else ("stay", "them")
    return f"{shown}{more} of the set {set_name} {stay}, no longer in the manifests; {remedy} deletes {them}"


def kept_notes(pruned: Pruned, records: Mapping[Key, Record], set_name: str) -> Iterable[Note]:
    """Why something stays, for the reader of the plan."""
    for key, user in sorted(pruned.kept.items()):
        of = records[user].set if user in records else set_name
        whose = "" if of == set_name else f" of the set {of}"
        then = ", which owns it from now on" if key in pruned.handed else ""
        yield Note(key, f"stays: {user}{whose} needs it{then}")


def _reason(
    key: Key, owner: Key | None, desired: Mapping[Key, Desired], inventory: Mapping[Key, Entry], pruning: Pruning
) -> str | None:
    if owner is not None and owner in desired:
        return f"{owner} has fewer replicas"
    if pruning.only is not None:
        asked = key in pruning.only or owner in pruning.only
        return ASKED_FOR if asked else None
    if not pruning.enabled or _protected(owner or key, inventory):
        return None
    return pruning.reason


def _protected(key: Key, inventory: Mapping[Key, Entry]) -> bool:
    entry = inventory.get(key)
    annotations = entry.manifest["metadata"].get("annotations", {}) if entry is not None else {}
    return bool(annotations.get(PROTECTION) == "disabled")


def _needed(chosen: Collection[Key], records: Mapping[Key, Record], desired: Mapping[Key, Desired]) -> dict[Key, Key]:
    """Of the chosen, what an object that stays needs, as the image of another set's container; and that object."""
    kept: dict[Key, Key] = {}
    staying = [*desired, *(key for key in records if key not in desired and key not in chosen)]
    while staying:
        user = staying.pop()
        for need in desired[user].needs if user in desired else records[user].needs:
            if need in chosen and need not in kept:
                kept[need] = user
                staying.append(need)
    return kept


def _handed(
    kept: Mapping[Key, Key], records: Mapping[Key, Record], inventory: Mapping[Key, Entry], set_name: str
) -> dict[Key, Key]:
    return {
        key: user
        for key, user in kept.items()
        if key in inventory and is_implied(key, inventory[key].manifest)
        if user in records and records[user].set != set_name
    }
