"""What steps came to, by their keys, on disk: so that the same step need not be done again.

One small file for each key names the layer; the layer itself is in the image store, and stays there as long as a key
names it. Bounded by `trim`: what was not used for longest goes first. Called by the solver and by the collector.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.images.blobs import BlobStore, full_disk_is_retried
from runtime.images.layers import layer_damage, read_layer
from runtime.images.leases import Lease
from runtime.layout import Layout

MOST_BYTES = 20 << 30
"""Bytes of layers that the cache alone may keep."""
LONGEST_SECONDS = 30 * 86400.0
"""How long an outcome that nobody asks for stays."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to: the layer's diffID, which is its blob's digest too; empty where it changed nothing.

    `created` in seconds since the epoch.
    """

    layer: str
    created: float


def recall(layout: Layout, lease: Lease, key: str) -> Outcome | None:
    """The outcome under that key, its layer whole on this disk and leased from now on; None where there is none."""
    path = _path(layout, key)
    outcome = _read(path)
    if outcome is None:
        return None
    if outcome.layer:
        lease.add(outcome.layer)
        store = BlobStore(layout, lease)
        if not store.has(outcome.layer) or layer_damage(layout, outcome.layer) is not None:
            return None
    with suppress(OSError):
        os.utime(path)
    return outcome


def remember(layout: Layout, key: str, outcome: Outcome) -> None:
    """Durable before the next build may ask. Raises RetryLater on a full disk."""
    path = _path(layout, key)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    with full_disk_is_retried(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w") as file:
                json.dump({"layer": outcome.layer, "created": outcome.created}, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)


def kept(layout: Layout) -> frozenset[str]:
    """Digests of the layers that outcomes name: not to be collected."""
    return frozenset(outcome.layer for _, outcome in _outcomes(layout) if outcome.layer)


def trim(layout: Layout, most_bytes: int = MOST_BYTES, longest_seconds: float = LONGEST_SECONDS) -> int:
    """Forget outcomes too old, then those unused for longest until the layers of the rest fit; how many were forgotten.

    What is forgotten goes from the disk with the next collection, unless an image names it.
    """
    now, total, forgotten = time.time(), 0, 0
    counted: set[str] = set()
    rows = sorted(((path.stat().st_mtime, path, outcome) for path, outcome in _outcomes(layout)), reverse=True)
    for used_at, path, outcome in rows:
        record = read_layer(layout, outcome.layer) if outcome.layer and outcome.layer not in counted else None
        size = record.bytes * 2 if record is not None else 0
        if now - used_at > longest_seconds or total + size > most_bytes:
            path.unlink(missing_ok=True)
            forgotten += 1
            continue
        total += size
        counted.add(outcome.layer)
    return forgotten


def forget_all(layout: Layout) -> None:
    """As `trim`, all of them: builds begin anew."""
    trim(layout, 0, -1.0)


def files_path(layout: Layout, name: str) -> Path:
    """Which files the image of that name was made of: written by `build`."""
    return layout.root / "build" / "images" / f"{name}.json"


def _outcomes(layout: Layout) -> Iterator[tuple[Path, Outcome]]:
    for path in _directory(layout).glob("*.json"):
        outcome = _read(path)
        if outcome is not None:
            yield path, outcome


def _read(path: Path) -> Outcome | None:
    try:
        found = json.loads(path.read_bytes())
        return Outcome(str(found["layer"]), float(found["created"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _directory(layout: Layout) -> Path:
    return layout.root / "build" / "cache"


def _path(layout: Layout, key: str) -> Path:
    return _directory(layout) / f"{key.removeprefix('sha256:')}.json"
