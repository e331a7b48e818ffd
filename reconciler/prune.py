"""What may be taken away: what the set's inventory holds and the manifests no longer do. Pure.

Never by guessing from labels, never another set's, never to zero without being told so, never what is marked
`trimtab/prune: disabled`, never what something that stays still needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.desired import Desired
from reconciler.store.inventory import Entry
from reconciler.store.records import Record
from schemas.errors import Refused
from schemas.names import Key

PROTECTION = "trimtab/prune"


@dataclass(frozen=True, slots=True)
class Pruning:
    """`enabled`: `--prune`. `only`: `delete`: exactly these and what belongs to them, nothing else of the set."""

    enabled: bool = False
    allow_empty: bool = False
    only: frozenset[Key] | None = None


NO_PRUNING = Pruning()


def to_delete(
    desired: Mapping[Key, Desired],
    records: Mapping[Key, Record],
    inventory: Mapping[Key, Entry],
    set_name: str,
    pruning: Pruning,
) -> dict[Key, str]:
    """Key -> reason. Raises Refused when everything would go and `--allow-empty` was not given."""
    own = {key: record for key, record in records.items() if record.set == set_name and key not in desired}
    chosen = {key: reason for key, record in own.items() if (reason := _reason(record, desired, inventory, pruning))}
    if pruning.enabled and not desired and chosen and not pruning.allow_empty:
        raise Refused(
            f"the manifests are empty: all {len(chosen)} objects of the set {set_name} would be deleted",
            step="prune",
            hint="give --allow-empty if that is meant",
        )
    return _without_needed(chosen, records, desired)


def _reason(
    record: Record, desired: Mapping[Key, Desired], inventory: Mapping[Key, Entry], pruning: Pruning
) -> str | None:
    if record.owner is not None and record.owner in desired:
        return f"{record.owner} has fewer replicas"
    if pruning.only is not None:
        asked = record.key in pruning.only or record.owner in pruning.only
        return "deletion was asked for" if asked else None
    if not pruning.enabled or _protected(record, inventory):
        return None
    return "no longer in the manifests"


def _protected(record: Record, inventory: Mapping[Key, Entry]) -> bool:
    entry = inventory.get(record.owner or record.key)
    annotations = entry.manifest["metadata"].get("annotations", {}) if entry is not None else {}
    return bool(annotations.get(PROTECTION) == "disabled")


def _without_needed(
    chosen: dict[Key, str], records: Mapping[Key, Record], desired: Mapping[Key, Desired]
) -> dict[Key, str]:
    """Leave out what an object that stays needs, as the image of another set's container."""
    while True:
        needs = {key: want.needs for key, want in desired.items()}
        needs |= {key: r.needs for key, r in records.items() if key not in chosen and key not in needs}
        needed = {need for group in needs.values() for need in group}
        kept = {key: reason for key, reason in chosen.items() if key not in needed}
        if len(kept) == len(chosen):
            return kept
        chosen = kept
