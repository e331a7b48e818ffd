"""The health of containers as it was found last: of one process each, so that a new one begins anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.health import HealthStatus
from reconciler.store.database import Database
from reconciler.store.standing import Topic, read_one, write_standing


@dataclass(frozen=True, slots=True)
class Known:
    """`init`: of which process (`observe.containers.init_word`). `acted`: when it was restarted or replaced for its
    health, in seconds since the epoch."""

    init: str
    status: HealthStatus
    streak: int = 0
    output: str = ""
    acted: tuple[float, ...] = ()


def write_health(database: Database, found: Mapping[str, Known | None]) -> None:
    """By container; None forgets it."""
    write_standing(database, Topic.HEALTH, {name: _value(known) for name, known in found.items()})


def known_health(database: Database, name: str) -> Known | None:
    """What the container's last check said; None where none was made."""
    value = read_one(database, Topic.HEALTH, name)
    return _known(value) if value is not None else None


def _value(known: Known | None) -> dict[str, Any] | None:
    if known is None:
        return None
    return {
        "init": known.init,
        "status": known.status.value,
        "streak": known.streak,
        "output": known.output,
        "acted": list(known.acted),
    }


def _known(value: Mapping[str, Any]) -> Known:
    return Known(value["init"], HealthStatus(value["status"]), value["streak"], value["output"], tuple(value["acted"]))
