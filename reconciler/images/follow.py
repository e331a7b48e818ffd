"""What becomes of an image that follows a repository: which one is chosen, when, and what a bad one leads to.

Pure: time, what the registry offers and how the containers stand are arguments. A newer one is on probation until what
runs it was well for as long as `settle` says; one that makes it ill is rolled back and not taken again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from schemas.image_follow import FollowSpec
from schemas.reference import Reference
from schemas.versions import read_range

PATIENCE = 10.0
"""Times `settle`, but at least `LEAST_PATIENCE`: when what is still not well counts as ill."""
LEAST_PATIENCE = 300.0
MOST_BAD = 50


class Verdict(StrEnum):
    """How what runs the image stands."""

    GOOD = "good"
    WAITING = "waiting"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Followed:
    """What is known of one image. References with tag and digest; moments in seconds since the epoch.

    `basis`: the wish that this belongs to. `selected`: what runs, or is to run; `previous`: what ran before it, as
    long as that is on probation; `available`: the newest that the registry had; `bad`: those that were rolled back, and
    why; `failure`: of the last look; `held`: why the newest is not taken; `written`: what was written back; `counts`:
    restarts of the containers when it was chosen; `times`: when images were made, by digest.
    """

    basis: str = ""
    selected: str = ""
    previous: str = ""
    available: str = ""
    since: float = 0.0
    well_since: float = 0.0
    checked_at: float = 0.0
    failure: str = ""
    held: str = ""
    bad: Mapping[str, str] = field(default_factory=dict)
    written: str = ""
    write_failure: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)

    @property
    def on_probation(self) -> bool:
        return bool(self.previous)

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def read_followed(value: Any) -> Followed:
    """The inverse of `fields`; nothing for what another version wrote."""
    try:
        return Followed(**value)
    except TypeError:
        return Followed()


def basis_of(ref: str, spec: FollowSpec) -> str:
    """What makes a choice another one. A reference that was written back, with its tag and digest, is the same wish."""
    reference = Reference.parse(ref)
    tag = reference.tag if spec.policy == "digest" else ""
    return f"{reference.name}:{tag} {spec.semver or spec.policy} {spec.tags or ''}"


def known_for(state: Followed, ref: str, spec: FollowSpec) -> Followed:
    """What is known of this very wish. A manifest that names a digest which was not chosen begins anew with that."""
    basis = basis_of(ref, spec)
    reference = Reference.parse(ref)
    if state.basis != basis:
        return Followed(basis, selected=ref if reference.digest else "")
    if reference.digest and ref not in (state.selected, state.written, state.previous) and ref not in state.bad:
        return replace(state, selected=ref, previous="", written=ref, held="")
    return state


def candidate_tags(spec: FollowSpec, ref: str, tags: Iterable[str]) -> tuple[str, ...]:
    """Tags whose images are to be looked at: of versions the newest alone."""
    if spec.policy == "digest":
        tag = Reference.parse(ref).tag
        return (tag,) if tag else ()
    if spec.semver is not None:
        newest = read_range(spec.semver).newest(tags)
        return (newest,) if newest else ()
    return tuple(tag for tag in tags if spec.is_of_pattern(tag))


def offered(state: Followed, available: str, now: float) -> Followed:
    """After a look that found `available`, empty for nothing that fits."""
    failure = "" if available else "no tag of the repository fits"
    return replace(state, available=available or state.available, checked_at=now, failure=failure)


def failed(state: Followed, message: str, now: float) -> Followed:
    """After a look that failed."""
    return replace(state, checked_at=now, failure=message)


def chosen(state: Followed, now: float, counts: Mapping[str, int], *, is_open: bool) -> Followed:
    """The newest is taken, unless something speaks against it: that is told in `held`."""
    newest = state.available
    if not newest or newest == state.selected or state.on_probation:
        return replace(state, held="")
    if newest in state.bad:
        return replace(state, held=f"it was rolled back: {state.bad[newest]}")
    if not state.selected:
        return replace(state, selected=newest, since=now, held="")
    if not is_open:
        return replace(state, held="outside its window")
    return replace(
        state, selected=newest, previous=state.selected, since=now, well_since=0.0, held="", counts=dict(counts)
    )


def judged(state: Followed, spec: FollowSpec, verdict: Verdict, why: str, now: float) -> Followed:
    """The probation goes on, ends well, or ends with the previous one in its place again."""
    if not state.on_probation:
        return state
    late = now - state.since > max(PATIENCE * spec.settle, LEAST_PATIENCE)
    if verdict is Verdict.BAD or (verdict is Verdict.WAITING and late):
        bad = {**state.bad, state.selected: why or "it did not become well"}
        kept = dict(list(bad.items())[-MOST_BAD:])
        return replace(
            state, selected=state.previous, previous="", since=now, bad=kept, held=f"it was rolled back: {why}"
        )
    if verdict is Verdict.WAITING:
        return replace(state, well_since=0.0)
    well_since = state.well_since or now
    if now - well_since < spec.settle:
        return replace(state, well_since=well_since)
    return replace(state, previous="", well_since=well_since)


def is_due_to_write(state: Followed, ref: str, spec: FollowSpec) -> bool:
    """Whether what was found good does not stand in the manifest yet."""
    good = bool(state.selected) and not state.on_probation
    return good and spec.write_back is not None and state.selected not in (ref, state.written)
