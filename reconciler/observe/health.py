"""Whether a container is unhealthy: as its present process was found last, by whoever makes the checks."""

from __future__ import annotations

from reconciler.engine import Engine
from reconciler.health import HealthStatus
from reconciler.observe.containers import init_word
from reconciler.store.health import known_health
from runtime.process.client import read_process


def health_of(engine: Engine, name: str) -> HealthStatus | None:
    """None where nothing is known of the process that runs now."""
    known = known_health(engine.database, name)
    if known is None:
        return None
    process = read_process(engine.layout, name)
    return known.status if process is not None and known.init == init_word(process) else None


def is_unhealthy(engine: Engine, name: str) -> bool:
    """Whether the last check of its present process said so."""
    return health_of(engine, name) is HealthStatus.UNHEALTHY
