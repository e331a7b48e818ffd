"""What builds on other machines came to, for one that names their caches: `cache_from`.

Asked by the solver only for what this machine has not. What is taken is remembered under a key of its own, which only
builds that name the same caches look under: whoever writes a cache decides over them, and over nobody else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.build.cache import Outcome, remember
from reconciler.build.wanted import Tell, Told
from runtime.images import step_cache
from runtime.images.making import Making
from runtime.images.oci import Descriptor
from runtime.images.step_cache import KeptStep
from schemas.build_cache import LOCAL, CachePlace
from schemas.errors import Refused, TrimtabError
from schemas.reference import Reference


@dataclass(slots=True)
class Sharing:
    """One build's. `offered`: by place, what the cache there says; None until it was read."""

    making: Making
    sources: tuple[CachePlace, ...]
    tell: Tell
    offered: dict[CachePlace, dict[str, KeptStep]] | None = field(default=None)

    def key(self, key: str) -> str:
        """Under which an outcome is remembered that is believed only where these caches are."""
        places = sorted(str(each) for each in self.sources)
        return f"sha256:{hashlib.sha256(json.dumps([places, key]).encode()).hexdigest()}"

    def offers(self, key: str) -> bool:
        """Whether some cache has the step. Reads them the first time; one that cannot be read is told and left out."""
        return any(key in steps for steps in self._all().values())

    def bring(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """The outcomes, their layers unpacked, remembered. One that cannot be had is told and left out."""
        brought: dict[str, Outcome] = {}
        for place, steps in self._all().items():
            wanted = [steps[key] for key in keys if key in steps and key not in brought]
            try:
                _fetch(self.making, place, [step.blob for step in wanted if step.blob is not None])
                for step in wanted:
                    brought[step.key] = self._taken(step)
            except TrimtabError as error:
                self.tell(Told("note", 0, f"the cache {place.place} is of no use: {error}"))
        return brought

    def _taken(self, step: KeptStep) -> Outcome:
        """Raises Refused: the layer is not what it says, or is unsound."""
        making = self.making
        if step.layer:
            making.lease.add(step.layer)
            step_cache.unfold(making.store, step, making.limits)
            making.ensure_layers([making.layer(step.layer, step.layer)])
        outcome = Outcome(step.layer, step.created)
        remember(making.layout, self.key(step.key), outcome)
        return outcome

    def _all(self) -> dict[CachePlace, dict[str, KeptStep]]:
        if self.offered is None:
            self.offered = {place: self._read(place) for place in self.sources}
        return self.offered

    def _read(self, place: CachePlace) -> dict[str, KeptStep]:
        try:
            found = read_place(self.making, place)
        except TrimtabError as error:
            self.tell(Told("note", 0, f"the cache {place.place} cannot be read: {error}"))
            return {}
        if not found:
            self.tell(Told("note", 0, f"the cache {place.place} holds nothing"))
        return {step.key: step for step in found}


def read_place(making: Making, place: CachePlace) -> tuple[KeptStep, ...]:
    """What the cache says. Raises Refused, RetryLater."""
    if place.type == LOCAL:
        return step_cache.read_directory(Path(place.place), place.tag)
    from reconciler.registries import read_registries

    return step_cache.read_registry(Reference.parse(place.place), read_registries(making.layout))


def _fetch(making: Making, place: CachePlace, blobs: Sequence[Descriptor]) -> None:
    missing = [blob for blob in blobs if not making.store.has(blob.digest, blob.size)]
    if not missing:
        return
    if any(blob.size > making.limits.bytes for blob in missing):
        raise Refused("has a layer that is too large", object=place.place, step="read cache")
    if place.type == LOCAL:
        step_cache.copy_blobs(making.store, Path(place.place), missing)
        return
    from reconciler.registries import read_registries

    step_cache.fetch_blobs(
        making.store, Reference.parse(place.place), missing, read_registries(making.layout), making.progress
    )
