"""Every object of an engine as it is known and as it stands now: what `get` and `describe` show.

Reads the store and the machine; decides nothing. Known are the objects that were applied and what they imply, images
brought by hand, and volumes whose data was kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.actions import Change
from reconciler.desired import Desired, Observed
from reconciler.engine import Engine
from reconciler.health import HealthStatus
from reconciler.observe import observe
from reconciler.observe.health import health_of
from reconciler.plan import changes_of
from reconciler.rollouts.looking import read_rollout_of
from reconciler.rollouts.state import Rollout
from reconciler.store.inventory import Entry, read_inventory
from reconciler.store.records import Record, read_records
from runtime.images.record import ImageRecord
from runtime.images.store import list_images, read_image
from runtime.layout import Layout
from runtime.process.client import read_process
from runtime.process.records import ProcessRecord
from runtime.volumes.records import VolumeObserved
from runtime.volumes.volume import list_retained, list_volumes, read_volume
from schemas.names import Key, Kind


@dataclass(frozen=True, slots=True)
class Known:
    """What the store says of the engine's objects, and what of them is only on the disk."""

    records: Mapping[Key, Record]
    inventory: Mapping[Key, Entry]
    by_hand: frozenset[Key]

    @property
    def keys(self) -> frozenset[Key]:
        return frozenset(self.records) | frozenset(self.inventory) | self.by_hand

    def users(self, key: Key) -> list[Key]:
        """The objects that need this one."""
        return sorted(record.key for record in self.records.values() if key in record.needs)

    def needs(self, key: Key) -> list[Key]:
        """What it needs, of what there is: a name in `depends_on` is recorded as a Container's and as a Service's."""
        record = self.records.get(key)
        if record is None:
            return []
        return [n for n in record.needs if n in self.records or n in self.inventory or n in self.by_hand]

    def replicas(self, service: Key) -> list[Key]:
        """Of what is recorded."""
        return [record.key for record in self.records.values() if record.owner == service]


@dataclass(frozen=True, slots=True)
class Seen:
    """One object. `manifest`: as asked, empty for what is derived or made by hand; `observed` None: never made;
    `differences`: what the machine contradicts; `needs`: what it needs; `users`: who needs it."""

    key: Key
    record: Record | None = None
    entry: Entry | None = None
    observed: Observed | None = None
    process: ProcessRecord | None = None
    image: ImageRecord | None = None
    volume: VolumeObserved | None = None
    differences: tuple[Change, ...] = ()
    needs: tuple[Key, ...] = ()
    users: tuple[Key, ...] = ()
    replicas: tuple[Key, ...] = ()
    probed: HealthStatus | None = None
    """What the health check of its present process said last."""
    rollout: Rollout | None = None
    """Of a Service that has one."""

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.observed.facts if self.observed is not None else {}

    @property
    def spec(self) -> Mapping[str, Any]:
        """As it was last brought in line with, else as asked."""
        if self.record is not None:
            return dict(self.record.fields.get("spec", {}))
        return dict(self.entry.manifest["spec"]) if self.entry is not None else {}

    @property
    def metadata(self) -> Mapping[str, Any]:
        if self.entry is not None:
            return dict(self.entry.manifest["metadata"])
        return dict(self.record.fields.get("metadata", {})) if self.record is not None else {}

    @property
    def set(self) -> str:
        if self.entry is not None:
            return self.entry.set
        return self.record.set if self.record is not None else ""

    @property
    def made_at(self) -> float:
        """Seconds since the epoch; 0 where nobody knows."""
        if self.entry is not None:
            return self.entry.created_at
        if self.image is not None:
            return self.image.made_at
        return self.record.made_at if self.record is not None else 0.0


def read_known(engine: Engine) -> Known:
    """One look at the store, the images and the volumes; no kernel is asked."""
    records, inventory = read_records(engine.database), read_inventory(engine.database)
    return Known(records, inventory, frozenset(_on_disk(engine.layout)) - records.keys() - inventory.keys())


def _on_disk(layout: Layout) -> Iterator[Key]:
    yield from (Key(Kind.IMAGE, image.name) for image in list_images(layout))
    yield from (Key(Kind.VOLUME, name) for name in (*list_volumes(layout), *list_retained(layout)))


def look(engine: Engine, known: Known, keys: Collection[Key]) -> list[Seen]:
    """The objects named by `keys`, in their order, as they stand now."""
    recorded = [known.records[key] for key in keys if key in known.records]
    observed = observe(engine, [*recorded, *(_by_hand(key) for key in keys if key in known.by_hand)])
    return [_seen(engine, known, key, observed.get(key)) for key in keys]


def _by_hand(key: Key) -> Record:
    """A record that wants nothing."""
    return Record(key, {"metadata": {}, "spec": {"ref": key.name} if key.kind is Kind.IMAGE else {}}, {})


def _seen(engine: Engine, known: Known, key: Key, observed: Observed | None) -> Seen:
    record = known.records.get(key)
    return Seen(
        key,
        record,
        known.inventory.get(key),
        observed,
        process=read_process(engine.layout, key.name) if key.kind is Kind.CONTAINER else None,
        image=read_image(engine.layout, key.name) if key.kind is Kind.IMAGE else None,
        volume=read_volume(engine.layout, key.name) if key.kind is Kind.VOLUME else None,
        differences=_differences(record, observed),
        needs=tuple(known.needs(key)),
        users=tuple(known.users(key)),
        replicas=tuple(known.replicas(key)),
        probed=health_of(engine, key.name) if key.kind is Kind.CONTAINER else None,
        rollout=read_rollout_of(engine.database, key) if key.kind is Kind.SERVICE else None,
    )


def _differences(record: Record | None, observed: Observed | None) -> tuple[Change, ...]:
    """What disagrees with that which the object was last brought in line with."""
    if record is None or observed is None:
        return ()
    secret = record.key.kind is Kind.SECRET
    return changes_of(Desired(record.key, record.fields, record.asked, record.needs, secret=secret), observed)
