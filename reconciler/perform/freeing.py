"""Frees the disk of images that nobody uses, by the watermarks. Called by the daemon, now and then.

Never what a manifest, a container, or a lease of work under way names: the collector's own marks hold here too.
"""

from __future__ import annotations

import os
import time

from reconciler.engine import Engine
from reconciler.freeing import Disk, Marks, Unused, is_full, to_let_go
from reconciler.lock import engine_lock
from reconciler.perform.images import standing_layers
from reconciler.store.events import Event, record_events
from reconciler.store.inventory import read_inventory
from reconciler.store.records import read_records
from runtime.images.collect import Collected, collect, unneeded
from runtime.images.store import list_images, remove_image
from runtime.layout import Layout
from schemas.names import Key, Kind


def read_disk(layout: Layout) -> Disk:
    """As df(1) counts: what only root may still use is no free space."""
    found = os.statvfs(layout.root)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    return Disk(used + found.f_bavail * found.f_frsize, used)


def free(engine: Engine, marks: Marks) -> Collected | None:
    """None where the disk is not full. Raises Refused, RetryLater (another one has the engine)."""
    layout = engine.layout
    if not is_full(read_disk(layout), marks):
        return None
    with engine_lock(layout.lock):
        standing = frozenset(standing_layers(layout))
        lost = _bytes(layout, standing)
        names = to_let_go(read_disk(layout), lost, _unused(engine, standing, lost), marks, time.time())
        for name in names:
            remove_image(layout, name)
        collected = collect(layout, standing)
    why = f"the disk was {marks.high:.0%} full or more"
    events = [Event(time.time(), f"Image/{name}", "Normal", "Collected", f"{why}; nobody used it") for name in names]
    record_events(engine.database, events)
    return collected


def _bytes(layout: Layout, standing: frozenset[str], going: tuple[str, ...] = ()) -> int:
    """What would be freed if these images were gone."""
    return sum(part.bytes for part in unneeded(layout, standing, going))


def _unused(engine: Engine, standing: frozenset[str], lost: int) -> list[Unused]:
    """Brought by hand, and no container's."""
    layout = engine.layout
    records, inventory = read_records(engine.database), read_inventory(engine.database)
    named = {*records, *inventory, *(need for record in records.values() for need in record.needs)}
    return [
        Unused(image.name, _bytes(layout, standing, (image.name,)) - lost, image.made_at)
        for image in list_images(layout)
        if Key(Kind.IMAGE, image.name) not in named
    ]
