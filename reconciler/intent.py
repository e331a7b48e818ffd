"""What one set asks for, resolved and ready to be compared: all of a pass that does not depend on how things stand.

Called by the loop, which keeps it until what was asked changes, so that an event costs the same with a thousand
objects as with ten. Made from the inventory alone: whoever applied has gone, with his variables and perhaps his files.
So what manifests only point at (contents of Secrets, env files, variables passed on) stays as it was when applied,
and is read again only where the machine has lost it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.apply import Stop
from reconciler.as_applied import applied_environment, bearers
from reconciler.claims import declared_of
from reconciler.desired import Desired, Observed
from reconciler.engine import Engine
from reconciler.local_images import local_images
from reconciler.perform.bundles import read_config
from reconciler.perform.context import Context
from reconciler.reconcile import world_of
from reconciler.registries import read_registries
from reconciler.resolve import resolve
from reconciler.resolve.world import Leases, Resolved
from reconciler.rollouts.looking import read_rollouts
from reconciler.rollouts.substitution import substituted
from reconciler.sources.contents import read_contents, read_environments, read_here
from reconciler.sources.unsealing import Unsealing
from reconciler.store.inventory import Entry
from reconciler.store.records import Record
from runtime.images.progress import ignore
from runtime.images.registry.settings import RegistrySettings
from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.errors import TrimtabError
from schemas.names import Key, Kind
from schemas.secret import ContentSpec


@dataclass(frozen=True, slots=True)
class Intent:
    """One set as wanted. `users`: who needs an object, of this set."""

    set: str
    others: Mapping[Key, Declared]
    resolved: Resolved
    contents: Mapping[Key, bytes]
    environments: Mapping[Key, Mapping[str, str]]
    registries: RegistrySettings
    users: Mapping[Key, tuple[Key, ...]]
    rollouts: Mapping[Key, tuple[bool, int]] = field(default_factory=dict)
    """Of Services, whether they were resolved as they were before, and with how many replicas more."""

    @property
    def desired(self) -> Mapping[Key, Desired]:
        return self.resolved.desired

    def context(self, engine: Engine, observed: Mapping[Key, Observed], stop: Stop) -> Context:
        """For carrying out a plan made of it."""
        return Context(
            engine=engine,
            set=self.set,
            declared={**self.others, **self.resolved.declared},
            desired=self.desired,
            observed=observed,
            pools=self.resolved.pools,
            contents=self.contents,
            environments=self.environments,
            registries=self.registries,
            progress=ignore,
            now=time.time(),
            stop=stop,
            patient=False,
        )


class Declarations:
    """Validated manifests by content: each is validated once, however often the inventory is read."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[Entry, Declared]] = {}

    def read(self, inventory: Mapping[Key, Entry]) -> dict[Key, Declared]:
        self._known = {key: self._one(key, entry) for key, entry in inventory.items()}
        return {key: declared for key, (_, declared) in self._known.items()}

    def _one(self, key: Key, entry: Entry) -> tuple[Entry, Declared]:
        known = self._known.get(key)
        if known is not None and (known[0] is entry or _same(known[0], entry)):
            return entry, known[1]
        return entry, declared_of(entry)


def _same(one: Entry, other: Entry) -> bool:
    return (one.manifest, one.set, one.file, one.line, one.commit) == (
        other.manifest,
        other.set,
        other.file,
        other.line,
        other.commit,
    )


def intend(
    engine: Engine,
    set_name: str,
    inventory: Mapping[Key, Entry],
    declared: Mapping[Key, Declared],
    records: Mapping[Key, Record],
    leases: Leases,
) -> Intent:
    """What the set asks for. Raises Refused, Invalid when it cannot be resolved any more."""
    own = [item for key, item in declared.items() if inventory[key].set == set_name]
    rollouts = read_rollouts(engine.database)
    own = list(substituted({item.key: item for item in own}, rollouts).values())
    others = {key: item for key, item in declared.items() if inventory[key].set != set_name}
    others |= local_images(engine.layout, own, inventory.keys())
    environments = {item.key: _environment(engine, item, records) for item in own if _has_environment(item)}
    unsealing = Unsealing(engine.layout, engine.database, set_name, {})
    contents = dict(_contents(own, unsealing))
    digests = {item.key: _digest(engine, item, records, contents) for item in own if _is_content(item)}
    surges = {key: state.surge for key, state in rollouts.items()}
    world = replace(world_of(engine, own, others, records, digests, environments), leases=leases, surges=surges)
    resolved = resolve({item.key: item for item in own}, world)
    registries = read_registries(engine.layout)
    rolled = {key: (state.back, state.surge) for key, state in rollouts.items()}
    return Intent(set_name, others, resolved, contents, environments, registries, users_of(resolved.desired), rolled)


def users_of(desired: Mapping[Key, Desired]) -> dict[Key, tuple[Key, ...]]:
    """Who needs each object, of those that are desired."""
    found: dict[Key, list[Key]] = defaultdict(list)
    for key, want in desired.items():
        for need in want.needs:
            found[need].append(key)
    return {key: tuple(users) for key, users in found.items()}


def _is_content(item: Declared) -> bool:
    return item.key.kind in (Kind.SECRET, Kind.CONFIG)


def _contents(own: Iterable[Declared], unsealing: Unsealing) -> Iterable[tuple[Key, bytes]]:
    """Of those that can be read here."""
    for item in own:
        if isinstance(item.spec, ContentSpec):
            try:
                yield from read_contents([item], {}, unsealing.read).items()
            except TrimtabError:
                continue


def _digest(engine: Engine, item: Declared, records: Mapping[Key, Record], contents: Mapping[Key, bytes]) -> str:
    """The digest of what was applied, else of what can be read now; empty where there is neither."""
    from runtime.volumes.secrets import content_digest

    recorded = records[item.key].asked.get("content") if item.key in records else None
    if recorded is not None and not _is_written(item):
        return str(recorded)
    return content_digest(engine.layout, contents[item.key]) if item.key in contents else str(recorded or "")


def _is_written(item: Declared) -> bool:
    """Whether the content stands in the manifest itself."""
    return isinstance(item.spec, ContentSpec) and item.spec.content is not None


def _has_environment(item: Declared) -> bool:
    return isinstance(item.spec, ContainerTemplate)


def _environment(engine: Engine, item: Declared, records: Mapping[Key, Record]) -> Mapping[str, str]:
    """A container's variables as they were when it was applied."""
    assert isinstance(item.spec, ContainerTemplate)
    applied = applied_environment(item, records)
    if applied is not None:
        return applied
    passed_on = [name for name, value in item.spec.environment.items() if value is None]
    given = _given(engine, bearers(item, records)) if passed_on else {}
    try:
        known = {name: given[name] for name in passed_on if name in given}
        return read_environments([item], known, read_here)[item.key]
    except TrimtabError:
        return {name: value for name, value in item.spec.environment.items() if value is not None}


def _given(engine: Engine, made: Iterable[Record]) -> Mapping[str, str]:
    """The variables in the bundle that was made last."""
    for record in made:
        config = read_config(engine.layout.container(record.key.name)) or {}
        entries = config.get("process", {}).get("env", ())
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)
    return {}
