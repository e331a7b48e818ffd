"""Which sources are to be followed: those of the daemon's settings, and the Source objects of the inventory.

Pure. What could not work is found here before anything is followed: two sources for one set, a source that feeds the
set which declares it, sources that wait for each other or declare each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.cycles import cycles
from schemas.envelope import Declared
from schemas.names import Key, Kind
from schemas.source import SourceSpec


@dataclass(frozen=True, slots=True)
class Followed:
    """One source. `by`: the set that declares it, empty for the daemon's own settings; `place`: where it is said."""

    name: str
    spec: SourceSpec
    by: str = ""
    place: str = ""

    @property
    def set(self) -> str:
        """What its objects belong to."""
        return self.spec.set or self.name

    @property
    def where(self) -> str:
        """The directory or repository, for people."""
        if self.spec.git is None:
            return self.spec.directory or ""
        git = self.spec.git
        ref = git.branch or git.tag or git.semver or git.commit
        return git.url + (f"#{ref}" if ref else "") + (f":{git.path}" if git.path else "")


def followed_of(declared: Iterable[Declared]) -> list[Followed]:
    """The Source objects among what is declared."""
    return [
        Followed(item.key.name, item.spec, item.origin.set, str(item.origin))
        for item in declared
        if isinstance(item.spec, SourceSpec)
    ]


def sort_out(sources: Sequence[Followed]) -> tuple[dict[str, Followed], dict[str, str]]:
    """Those that can be followed by name, and why each of the others cannot. The first of two keeps what both want."""
    chosen: dict[str, Followed] = {}
    refused: dict[str, str] = {}
    feeders: dict[str, Followed] = {}
    for source in sources:
        name, other = source.name, feeders.get(source.set)
        if name in chosen:
            refused[f"{name} ({source.place or source.where})"] = f"there is another source {name}; rename one of them"
        elif other is not None:
            refused[name] = (
                f"the set {source.set} has its objects from source {other.name} already; give it a set: of its own"
            )
        elif source.set == source.by:
            refused[name] = (
                f"it would feed the set {source.set} that declares it, and take itself away; give it another set:"
            )
        else:
            chosen[name] = feeders[source.set] = source
    for knot in _knots(chosen):
        way = " -> ".join((*knot, knot[0]))
        for name in knot:
            refused[name] = f"waits for itself: {way}; remove one of these"
            del chosen[name]
    return chosen, refused


STEERING = ("self_heal", "rollouts", "window")
"""What a Source says of its set beside its manifests."""


def told_of_sets(declared: Iterable[Declared]) -> dict[str, dict[str, str]]:
    """What Source objects say of drift of their sets, by scope (`set/shop`); nothing of one that cannot be followed."""
    chosen, _ = sort_out(followed_of(declared))
    told = {f"set/{source.set}": {name: getattr(source.spec, name) for name in STEERING} for source in chosen.values()}
    said = {scope: {word: str(value) for word, value in each.items() if value} for scope, each in told.items()}
    return {scope: each for scope, each in said.items() if each}


def _knots(sources: Mapping[str, Followed]) -> list[tuple[str, ...]]:
    """Sources that need each other in a circle: a source needs those it waits for, and the one that declares it."""
    feeders = {source.set: name for name, source in sources.items()}
    needs = {
        Key(Kind.SOURCE, name): [
            Key(Kind.SOURCE, need) for need in (*source.spec.depends_on, feeders.get(source.by, "")) if need in sources
        ]
        for name, source in sources.items()
    }
    found: list[tuple[str, ...]] = []
    while knots := cycles(needs):
        found += [tuple(key.name for key in knot) for knot in knots]
        caught = {key for knot in knots for key in knot}
        needs = {key: [need for need in each if need not in caught] for key, each in needs.items() if key not in caught}
    return found
