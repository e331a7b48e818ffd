"""What is said to somebody who names an object, or a set, where `delete` takes manifests. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.cli.selection import read_key
from reconciler.engine import open_engine
from reconciler.sources.files import NO_PATH
from reconciler.store.inventory import Entry, read_inventory
from reconciler.store.records import read_records
from reconciler.store.revisions import BY_SOURCE, read_revisions
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.names import Key


def refuse_object(layout: Layout, path: str) -> None:
    """Raises Refused for the name of an object or a set, saying where it is declared, or that there is none."""
    if layout.store.exists():
        _refuse_known(layout, path)
    key = _named(path)
    if key is not None:
        hint = f"there is no {key}, either; delete takes manifests, or --set NAME for a whole set"
        raise Refused(NO_PATH, path=path, hint=hint)


def _refuse_known(layout: Layout, path: str) -> None:
    with open_engine(layout) as engine:
        inventory, records = read_inventory(engine.database), read_records(engine.database)
        if path in {entry.set for entry in inventory.values()}:
            raise Refused(f"{path} is a set, not a path", hint=f"`trimtab delete --set {path}` deletes all of it")
        for key in _keys(path, (*inventory, *records)):
            owner = records[key].owner if key in records else None
            entry = inventory.get(owner or key)
            if entry is not None:
                revisions = read_revisions(engine.database, entry.set)
                cause = revisions[-1].cause if revisions else ""
                raise Refused(f"{path} names {key}, not manifests", hint=_hint(key, owner, entry, cause))


def _keys(text: str, known: Iterable[Key]) -> Iterator[Key]:
    """`container/web`; a name alone of whatever has it."""
    if "/" in text:
        key = _named(text)
        yield from (each for each in known if each == key)
        return
    yield from (each for each in known if each.name == text)


def _named(text: str) -> Key | None:
    """The object that `container/web` names, whether there is one or not; None for what names none."""
    try:
        return read_key(text) if "/" in text else None
    except Refused:
        return None


def _hint(key: Key, owner: Key | None, entry: Entry, cause: str) -> str:
    where = f"{entry.file}:{entry.line}"
    if owner is not None:
        return f"it is a replica of {owner} ({where}): change deploy.replicas there, and apply"
    if cause.startswith(BY_SOURCE):
        return f"{cause} declares it at {where} and would make it again: take it out there"
    return f"{where} declares it: take it out there and `trimtab apply --prune --set {entry.set} {entry.file}`"
