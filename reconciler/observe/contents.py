"""Facts of a Secret or Config: the keyed digest of what stands on the engine's tmpfs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.engine import Engine
from reconciler.observe.shared import Shared
from reconciler.store.records import Record
from runtime.volumes.secrets import read_secret


def read(engine: Engine, record: Record, shared: Shared) -> Mapping[str, Any]:
    """The digest of what stands on the tmpfs."""
    have = read_secret(engine.layout, record.key.kind.value, record.key.name)
    return {"content": have.digest if have is not None else None}
