"""Read what is: each known object's facts, from kernel and disk, never from what was intended.

The store only says which objects are known and what they were last asked to be. What the machine holds in one piece
(the firewall, the DNS server, the host's links) is read once per pass and shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reconciler.desired import Observed
from reconciler.engine import Engine
from reconciler.observe import containers, contents, images, networks, services, sources, volumes
from reconciler.observe.shared import Shared
from reconciler.store.records import Record
from schemas.names import Key, Kind

Read = Callable[[Engine, Record, Shared], Mapping[str, Any]]

FEW = 128
"""Objects up to which single questions to the kernel cost less than reading all it has, or not much more: parts of a
resync beside a thousand containers are as large as the loop makes them, and each would read them all."""

READERS: Mapping[Kind, Read] = {
    Kind.IMAGE: images.read,
    Kind.CONTAINER: containers.read,
    Kind.VOLUME: volumes.read,
    Kind.NETWORK: networks.read,
    Kind.SERVICE: services.read,
    Kind.SECRET: contents.read,
    Kind.CONFIG: contents.read,
    Kind.SOURCE: sources.read,
}


def observe(engine: Engine, records: Iterable[Record]) -> dict[Key, Observed]:
    """Every recorded object as it stands now."""
    known = list(records)
    shared = Shared(engine, few=len(known) <= FEW)
    return {record.key: _observe(engine, record, shared) for record in known}


def _observe(engine: Engine, record: Record, shared: Shared) -> Observed:
    facts = READERS[record.key.kind](engine, record, shared)
    return Observed(record.key, record.fields, facts, record.asked, record.needs, record.owner)
