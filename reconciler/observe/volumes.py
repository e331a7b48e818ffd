"""Facts of a volume: its data is there, it is mounted as asked, it is limited as asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.engine import Engine
from reconciler.observe.shared import Shared
from reconciler.store.records import Record
from runtime.volumes.volume import read_volume


def read(engine: Engine, record: Record, shared: Shared) -> Mapping[str, Any]:
    """Its directory, mount and limit (bytes)."""
    have = read_volume(engine.layout, record.key.name)
    if have is None:
        return {"data": None, "mount": None, "size": None}
    mount = "mounted" if have.mounted else "; ".join(have.drift) or "not mounted"
    return {"data": "present" if have.present else None, "mount": mount, "size": have.size}
