"""The work of `trimtab volume rm`: the data of volumes that no manifest wants goes, once somebody has said so."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import click

from reconciler.cli.disk_usage import tree_bytes
from reconciler.cli.quantities import size_text
from reconciler.cli.seen import Known, read_known
from reconciler.cli.selection import read_key, unknown
from reconciler.engine import Engine, open_engine
from reconciler.found_data import data_elsewhere
from reconciler.lock import engine_lock
from reconciler.perform.mount_sources import OWNER_LABEL
from reconciler.store.events import Event, record_events
from runtime.layout import Layout
from runtime.volumes.records import VolumeObserved
from runtime.volumes.volume import read_volume, remove_volume
from schemas.errors import Refused
from schemas.names import Key, Kind

LOCK_SECONDS = 30.0


def remove(layout: Layout, names: Sequence[str], *, yes: bool) -> None:
    """All of them or none. Raises Refused naming who wants one, RetryLater while another trimtab works."""
    with engine_lock(layout.lock, LOCK_SECONDS), open_engine(layout) as engine:
        known = read_known(engine)
        volumes = [_unwanted(layout, name, known) for name in dict.fromkeys(names)]
        if not yes:
            _ask(volumes)
        for volume in volumes:
            delete_data(engine, volume.name)
            click.echo(f"- {Key(Kind.VOLUME, volume.name)} deleted with its data")


def delete_data(engine: Engine, name: str) -> None:
    """Of a volume that nobody wants. It is an event."""
    remove_volume(engine.layout, name, delete_data=True)
    event = Event(time.time(), str(Key(Kind.VOLUME, name)), "Normal", "Deleted", "its data, by hand")
    record_events(engine.database, [event])


def _unwanted(layout: Layout, name: str, known: Known) -> VolumeObserved:
    key = read_key(name) if "/" in name else Key(Kind.VOLUME, name)
    volume = read_volume(layout, key.name) if key.kind is Kind.VOLUME else None
    if volume is None:
        raise unknown(key, [each for each in known.keys if each.kind is Kind.VOLUME])
    owner = volume.labels.get(OWNER_LABEL)
    users = [*known.users(key), *([Key(Kind.CONTAINER, owner)] if owner and volume.registered else [])]
    if any(user in known.records for user in users):
        raise Refused(f"{key} is used by {', '.join(map(str, users))}", step="remove", hint="delete that first")
    entry = known.inventory.get(key)
    if entry is not None or key in known.records:
        declared = (
            f"{key} is declared by the set {entry.set} ({entry.file}:{entry.line})" if entry else f"{key} is there"
        )
        hint = "`trimtab delete` it first: its data is kept, and this command then deletes that"
        raise Refused(declared, step="remove", hint=hint)
    return volume


def _ask(volumes: Sequence[VolumeObserved]) -> None:
    """Raises Abort for a no, Refused where nobody can be asked."""
    if not os.isatty(0):
        names = ", ".join(volume.name for volume in volumes)
        raise Refused(f"the data of {names} would go for good", step="remove", hint="give --yes if that is meant")
    for volume in volumes:
        click.echo(f"Volume/{volume.name}: {described(volume)}")
    click.confirm("Delete this for good?", abort=True)


def described(volume: VolumeObserved) -> str:
    """How much goes, and what does not: never what lies on a bound directory or a foreign device."""
    elsewhere = data_elsewhere(volume)
    if elsewhere is not None:
        return f"what lies in {elsewhere} stays; trimtab forgets the volume"
    return f"{size_text(tree_bytes(volume.path))} in {volume.path}"
