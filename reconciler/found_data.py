"""Data that a volume finds when it is made, and data that goes with it: what plans say of both.

A volume whose data was kept is found again by its name, by whichever set asks for it. A set takes away only data that
no other set has had: what was there before is somebody else's, whatever the manifest says of deleting. Called by
`reconcile`, for `diff`, `apply` and the daemon alike, and by whatever takes a volume away; changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from reconciler.actions import Action, Note, Plan, Verb
from reconciler.cli.quantities import size_text
from reconciler.desired import Desired, Observed
from runtime.layout import Layout
from runtime.volumes.records import VolumeObserved
from runtime.volumes.volume import holds_files, read_volume
from schemas.names import Key, Kind

BLOCK = 512
"""Bytes that st_blocks counts in (inode(7))."""
MOST_COUNTED = 10_000
"""Files: a plan waits for no more."""


def tell_of_data(layout: Layout, plan: Plan, observed: Mapping[Key, Observed], set_name: str) -> Plan:
    """The plan with reasons that name the data which a volume finds, and that which goes with it."""
    return replace(plan, actions=tuple(_told(layout, action, observed, set_name) for action in plan.actions))


def _told(layout: Layout, action: Action, observed: Mapping[Key, Observed], set_name: str) -> Action:
    if action.key.kind is not Kind.VOLUME:
        return action
    if action.verb is Verb.CREATE and (found := _found(layout, action)) is not None:
        kept = "is there already" if found.registered else f"was kept when {_sets(found.had_by)} let it go"
        return replace(action, reason=f"finds data that {kept} ({_extent(found.path)})")
    if action.verb is Verb.DELETE and deletes_data(layout, action, observed.get(action.key), set_name):
        volume = read_volume(layout, action.key.name)
        if volume is not None and data_elsewhere(volume) is None:
            return replace(action, reason=f"{action.reason}, with its data")
    return action


def notes_on_data(
    layout: Layout, plan: Plan, desired: Mapping[Key, Desired], observed: Mapping[Key, Observed], set_name: str
) -> Iterator[Note]:
    """A sentence for each volume that takes over another set's data, or that leaves it against its own policy."""
    for action in plan.effective:
        if action.key.kind is not Kind.VOLUME:
            continue
        if action.verb is Verb.CREATE and (found := _found(layout, action)) is not None:
            others = others_of(found, set_name)
            if others:
                yield Note(action.key, _takes_over(others, asks_to_delete(desired[action.key].fields)))
        elif action.verb is Verb.DELETE and not action.replaces:
            have, volume = observed.get(action.key), read_volume(layout, action.key.name)
            others = others_of(volume, set_name) if volume is not None else ()
            if others and have is not None and asks_to_delete(have.fields):
                yield Note(action.key, _stays(action.key, others))


def _takes_over(others: tuple[str, ...], deletes: bool) -> str:
    text = f"takes over data of {_sets(others)}"
    return f"{text}, which `deletion_policy: delete` will not delete" if deletes else text


def _stays(key: Key, others: tuple[str, ...]) -> str:
    remedy = f"`trimtab volume rm {key.name}` then deletes it"
    return f"leaves its data in spite of `deletion_policy: delete`: {_sets(others)} had it before; {remedy}"


def deletes_data(layout: Layout, action: Action, have: Observed | None, set_name: str) -> bool:
    """Whether to delete the volume is to delete its data: its recorded policy says so, no other set has had the data,
    and it is not merely replaced."""
    if action.replaces or have is None or not asks_to_delete(have.fields):
        return False
    volume = read_volume(layout, action.key.name)
    return volume is None or not others_of(volume, set_name)


def asks_to_delete(fields: Mapping[str, object] | None) -> bool:
    """Whether the manifest says `deletion_policy: delete`."""
    spec = (fields or {}).get("spec")
    return isinstance(spec, Mapping) and spec.get("deletion_policy") == "delete"


def others_of(volume: VolumeObserved, set_name: str) -> tuple[str, ...]:
    """The sets, other than this one, that have had the volume's data; an empty name for one nobody knows."""
    return tuple(each for each in volume.had_by if each != set_name)


def data_elsewhere(volume: VolumeObserved) -> Path | str | None:
    """The directory, export or disk that a volume's options mount, not the engine's own; None where it has none."""
    device = volume.driver_opts.get("device", "")
    return device if "/" in device else None


def _found(layout: Layout, action: Action) -> VolumeObserved | None:
    """The volume that is there with files in it, though nobody has made it for this set."""
    if action.replaces or not holds_files(layout, action.key.name):
        return None
    return read_volume(layout, action.key.name)


def _sets(names: tuple[str, ...]) -> str:
    known = [f"set {name}" for name in names if name]
    return " and ".join([*known, *(["somebody unknown"] if len(known) < len(names) else [])])


def _extent(path: Path) -> str:
    """`3 files, 12 KiB`, as du(1) counts them; no more than are soon counted."""
    count = size = 0
    for entry in _files(path):
        if count == MOST_COUNTED:
            return f"more than {MOST_COUNTED} files, {size_text(size)}"
        count += 1
        with suppress(OSError):
            size += entry.stat(follow_symlinks=False).st_blocks * BLOCK
    return f"{count} file{'' if count == 1 else 's'}, {size_text(size)}"


def _files(path: Path) -> Iterator[os.DirEntry[str]]:
    """What is not a directory, below a directory."""
    left = [str(path)]
    while left:
        with suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    yield entry
