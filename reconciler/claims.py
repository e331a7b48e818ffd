"""Which set owns what: objects of other sets as context, and the refusal of a second claim on one object. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.store.inventory import Entry
from schemas.envelope import Declared, Metadata, Origin
from schemas.errors import Invalid, Problem
from schemas.names import Key
from schemas.spec_models import SPEC_MODELS


def declared_elsewhere(inventory: Mapping[Key, Entry], set_name: str) -> dict[Key, Declared]:
    """Objects of every other set, as they were last applied."""
    return {key: declared_of(entry) for key, entry in inventory.items() if entry.set != set_name}


def declared_of(entry: Entry) -> Declared:
    """The object an inventory entry was made from."""
    metadata = entry.manifest["metadata"]
    return Declared(
        entry.key,
        Metadata(entry.key.name, metadata.get("labels", {}), metadata.get("annotations", {})),
        SPEC_MODELS[entry.key.kind].model_validate(entry.manifest["spec"]),
        Origin(entry.file, entry.line, entry.set, entry.commit),
        spot=(entry.line - 1, 0, None),
    )


def refuse_claimed(
    declared: Iterable[Declared], inventory: Mapping[Key, Entry], set_name: str, *, by_source: bool = False
) -> None:
    """Raises Invalid for each object that another set owns, naming that set and its file and line."""
    problems = claimed(declared, inventory, set_name, by_source=by_source)
    if problems:
        raise Invalid(problems)


def claimed(
    declared: Iterable[Declared], inventory: Mapping[Key, Entry], set_name: str, *, by_source: bool = False
) -> list[Problem]:
    """As `refuse_claimed`, for who has more to tell. `by_source`: it is a daemon's source that claims them."""
    problems = []
    for item in declared:
        entry = inventory.get(item.key)
        if entry is not None and entry.set != set_name:
            message = f"belongs to the set {entry.set} ({entry.file}:{entry.line})"
            remedy = f"give it another name here, remove it there, or {_joined(entry.set, by_source=by_source)}"
            problems.append(Problem(item.place(), str(item.key), "", message, remedy))
    return problems


def _joined(set_name: str, *, by_source: bool) -> str:
    """How what is asked for becomes part of the set."""
    if by_source:
        return f"feed that set: spec.set of the Source is to be {set_name}, or the name of the directory"
    return f"apply with --set {set_name}"
