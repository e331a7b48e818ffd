"""What of images could not be found out, for whoever reads a plan. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.actions import Note
from reconciler.desired import Observed
from schemas.names import Key


def notes_on_registries(observed: Mapping[Key, Observed]) -> Iterator[Note]:
    """Of the tags that could not be looked at: whether they name the image is not known."""
    for key, have in sorted(observed.items()):
        unknown: Mapping[str, Any] = have.facts.get("unknown", {})
        for tag, why in sorted(unknown.items()):
            yield Note(key, f"is Unknown in its registry: {tag}: {why}")
