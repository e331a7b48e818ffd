"""What stored manifests only point at (contents of Secrets and Configs, env files), when they are asked for again.

Files are read on the engine's machine, whoever asks: a client would have to hand over what it never named. What is not
there, as a file that a client of another machine had sent, stays as it was applied, if the manifest still points at
the same. Called for a rollback by `reconcile`, and by `intent`. Reads the store's records and the engine's tmpfs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.claims import declared_of
from reconciler.sources.contents import read_contents, read_environments
from reconciler.sources.sealed import variable_of
from reconciler.sources.unsealing import Unsealing
from reconciler.store.inventory import Entry
from reconciler.store.records import Record
from reconciler.store.sealed import Sealed
from runtime.layout import Layout
from runtime.volumes.secrets import read_secret_content
from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.errors import Invalid, Problem, Refused
from schemas.names import Key, Kind
from schemas.secret import ContentSpec

UNKEPT = "was encrypted with SOPS, and its encrypted form of then was not kept"
UNKEPT_REMEDY = "have its source apply it again: `trimtab source fetch NAME --retry`"


def contents_again(
    layout: Layout,
    declared: Iterable[Declared],
    inventory: Mapping[Key, Entry],
    environment: Mapping[str, str],
    unsealing: Unsealing,
    sealed: Mapping[Key, Sealed],
) -> dict[Key, bytes]:
    """Of every Secret and Config, `sealed` those that stood encrypted. Raises Invalid with each that is nowhere,
    Refused where what was encrypted cannot be decrypted."""
    found: dict[Key, bytes] = {}
    problems: list[Problem] = []
    for item in declared:
        if item.key in sealed:
            found[item.key] = unsealing.content(item.key, sealed[item.key])
            continue
        if is_hidden(item):
            problems.append(item.problem(("spec",), UNKEPT, UNKEPT_REMEDY))
            continue
        try:
            found |= read_contents([item], environment, unsealing.read)
        except Refused as error:
            kept = _kept_content(layout, item, inventory)
            if kept is not None:
                found[item.key] = kept
            elif isinstance(error, Invalid):
                problems += error.problems
            else:
                raise
    if problems:
        raise Invalid(problems)
    return found


def is_hidden(item: Declared) -> bool:
    """Whether its content stood encrypted in its manifest, and no store holds it."""
    return isinstance(item.spec, ContentSpec) and item.spec.environment == variable_of(item.key)


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
    unsealing: Unsealing,
) -> dict[Key, Mapping[str, str]]:
    """Variables of every container and service. Raises Invalid with each whose env file is nowhere, Refused where one
    cannot be decrypted."""
    found: dict[Key, Mapping[str, str]] = {}
    problems: list[Problem] = []
    for item in declared:
        try:
            found |= read_environments([item], environment, unsealing.read)
        except Refused as error:
            kept = applied_environment(item, records) if _names_the_same(item, inventory) else None
            if kept is not None:
                found[item.key] = kept
            elif isinstance(error, Invalid):
                problems += error.problems
            else:
                raise
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
