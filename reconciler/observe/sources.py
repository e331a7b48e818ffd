"""Facts of a Source: none. What it offers and how far it is are the daemon's to tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.engine import Engine
from reconciler.observe.shared import Shared
from reconciler.store.records import Record


def read(engine: Engine, record: Record, shared: Shared) -> Mapping[str, Any]:
    """Nothing: a Source is only noted."""
    return {}
