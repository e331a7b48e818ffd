"""What a build came to, for builds on other machines: `cache_to`. Called once its image is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reconciler.build.cache import Outcome
from reconciler.build.shared import read_place
from reconciler.build.solve import Solver
from reconciler.build.steps import Start
from reconciler.build.wanted import Told
from runtime.images import step_cache
from runtime.images.compress import compressed_layer
from runtime.images.step_cache import MOST_STEPS, KeptStep
from schemas.build_cache import LOCAL, CachePlace
from schemas.errors import Refused, TrimtabError
from schemas.reference import Reference


def write_caches(solver: Solver) -> None:
    """Each of `cache_to`. Raises Refused, RetryLater; where `ignore-error` is set, it is told instead."""
    for place in solver.wanted.cache_to:
        try:
            digest = _write(solver, place)
        except TrimtabError as error:
            if not place.ignore_error:
                error.hint = error.hint or "the image itself is there; ignore-error=true passes over this"
                raise
            solver.tell(Told("note", 0, f"the cache {place.place} was not written: {error}"))
        else:
            solver.tell(Told("note", 0, f"the cache {place.place} is {digest}"))


def _write(solver: Solver, place: CachePlace) -> str:
    """Its digest. A step of this build that needed no looking at may be known to the place alone, and stays."""
    numbers = _numbers(solver, place.mode)
    own = {
        solver.early[number]: _kept(solver, solver.early[number], solver.outcomes[number])
        for number in numbers
        if number in solver.outcomes
    }
    keys = {solver.early[number] for number in numbers} - own.keys()
    before = {step.key: step for step in _before(solver, place) if step.key in keys}
    steps = [*own.values(), *before.values()][:MOST_STEPS]
    try:
        return _write_to(solver, place, steps)
    except FileNotFoundError:  # the place has lost a blob that only the steps of before need
        return _write_to(solver, place, list(own.values()))


def _numbers(solver: Solver, mode: str) -> list[int]:
    """The steps that are written: those of the image alone, or of every stage it needs."""
    steps = solver.graph.steps
    wanted = {step.number for step in steps} if mode == "max" else set(_chain(solver))
    return sorted(number for number in wanted if not isinstance(steps[number].work, Start))


def _chain(solver: Solver) -> Iterator[int]:
    number: int | None = solver.graph.result.tree
    while number is not None:
        yield number
        number = solver.graph.steps[number].on_top


def _kept(solver: Solver, key: str, outcome: Outcome) -> KeptStep:
    making = solver.making
    if not outcome.layer:
        return KeptStep(key, "", outcome.created)
    return KeptStep(key, outcome.layer, outcome.created, compressed_layer(making.layout, making.store, outcome.layer))


def _before(solver: Solver, place: CachePlace) -> tuple[KeptStep, ...]:
    """What the place says already, as far as its blobs are still there. One that cannot be read says nothing."""
    try:
        found = read_place(solver.making, place)
    except TrimtabError:
        return ()
    if place.type != LOCAL:
        return found
    return tuple(step for step in found if step.blob is None or step_cache.has_blob(Path(place.place), step.blob))


def _write_to(solver: Solver, place: CachePlace, steps: list[KeptStep]) -> str:
    store = solver.making.store
    if place.type == LOCAL:
        return step_cache.write_directory(store, Path(place.place), place.tag, steps)
    from reconciler.registries import read_registries

    reference = Reference.parse(place.place)
    if reference.digest is not None:
        raise Refused("names a digest, which follows from what is written", object=place.place, step="write cache")
    return step_cache.write_registry(
        store, reference, steps, read_registries(solver.making.layout), solver.making.progress
    )
