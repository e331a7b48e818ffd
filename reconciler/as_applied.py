"""What stored manifests only point at (contents of Secrets and Configs, env files), when they are asked for again.

Files are read on the engine's machine, whoever asks: a client would have to hand over what it never named. What is not
there, as a file that a client of another machine had sent, stays as it was applied, if the manifest still points at
the same. Called for a rollback by `reconcile`, and by `intent`. Reads the store's records and the engine's tmpfs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.claims import declared_of
from reconciler.sources.contents import read_contents, read_environments, read_here
from reconciler.store.inventory import Entry
from reconciler.store.records import Record
from runtime.layout import Layout
from runtime.volumes.secrets import read_secret_content
from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.errors import Invalid, Problem
from schemas.names import Key, Kind
from schemas.secret import ContentSpec


def contents_again(
    layout: Layout, declared: Iterable[Declared], inventory: Mapping[Key, Entry], environment: Mapping[str, str]
) -> dict[Key, bytes]:
    """Of every Secret and Config. Raises Invalid with each that is nowhere."""
    found: dict[Key, bytes] = {}
    problems: list[Problem] = []
    for item in declared:
        try:
            found |= read_contents([item], environment, read_here)
        except Invalid as error:
            kept = _kept_content(layout, item, inventory)
            if kept is None:
                problems += error.problems
            else:
                found[item.key] = kept
    if problems:
        raise Invalid(problems)
    return found


def _kept_content(layout: Layout, item: Declared, inventory: Mapping[Key, Entry]) -> bytes | None:
    now = _now(item, inventory)
    if not isinstance(item.spec, ContentSpec) or not isinstance(now, ContentSpec):
        return None
    if item.spec.file is None or item.spec.file != now.file:
        return None
    return read_secret_content(layout, item.key.kind.value, item.key.name)


def environments_again(
    declared: Iterable[Declared],
    inventory: Mapping[Key, Entry],
    records: Mapping[Key, Record],
    environment: Mapping[str, str],
) -> dict[Key, Mapping[str, str]]:
    """Variables of every container and service. Raises Invalid with each whose env file is nowhere."""
    found: dict[Key, Mapping[str, str]] = {}
    problems: list[Problem] = []
    for item in declared:
        try:
            found |= read_environments([item], environment, read_here)
        except Invalid as error:
            kept = applied_environment(item, records) if _names_the_same(item, inventory) else None
            if kept is None:
                problems += error.problems
            else:
                found[item.key] = kept
    if problems:
        raise Invalid(problems)
    return found


def _names_the_same(item: Declared, inventory: Mapping[Key, Entry]) -> bool:
    now, spec = _now(item, inventory), item.spec
    if not isinstance(spec, ContainerTemplate) or not isinstance(now, ContainerTemplate):
        return False
    return (spec.env_file, spec.environment) == (now.env_file, now.environment)


def _now(item: Declared, inventory: Mapping[Key, Entry]) -> object:
    """Its spec as it was asked for last."""
    return declared_of(inventory[item.key]).spec if item.key in inventory else None


def applied_environment(item: Declared, records: Mapping[Key, Record]) -> Mapping[str, str] | None:
    """The variables that it got from env files and its own when it was applied; None where no env file was named."""
    for record in bearers(item, records):
        if "env_file" in record.fields:
            merged: Mapping[str, str] = record.fields["env_file"]
            return merged
    return None


def bearers(item: Declared, records: Mapping[Key, Record]) -> Sequence[Record]:
    """The records of the containers that the manifest makes."""
    if item.key.kind is Kind.CONTAINER:
        return [records[item.key]] if item.key in records else []
    return [record for record in records.values() if record.owner == item.key]
