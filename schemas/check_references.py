"""References that lead nowhere, and those that lead in a circle.

Pure: called by `check` with everything declared and known. An image's name that no object has is a reference to a
registry; it is refused only where it is a declared image's name but for a letter or two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from schemas.cycles import cycles
from schemas.envelope import Declared
from schemas.errors import Problem
from schemas.mentions import JOINING, Mention, mentions_of
from schemas.names import Key, Kind
from schemas.nearest import is_slip, suggest

MOST_OF_ONE = 100
"""Dangling references that are told of one object."""
MOST_SUGGESTED = 200
"""Dangling references for which the nearest name is looked for, since that takes its time."""


def dangling(objects: Iterable[Declared], every: Collection[Key]) -> Iterator[Problem]:
    """References to what is not among `every` object declared or known."""
    names = {kind: sorted(key.name for key in every if key.kind is kind) for kind in Kind}
    told = 0
    for declared in objects:
        for mention in islice(_unknown(declared, every), MOST_OF_ONE):
            message = f"there is no {' or '.join(kind.value for kind in mention.kinds)} {mention.name}"
            known = [name for kind in mention.kinds for name in names[kind]] if told < MOST_SUGGESTED else []
            yield declared.problem(mention.path, message, _remedy(mention, known, every))
            told += 1
    yield from misspelled_images(objects, names[Kind.IMAGE])


def _unknown(declared: Declared, every: Collection[Key]) -> Iterator[Mention]:
    for mention in mentions_of(declared):
        is_sought = mention.required and mention.kinds != (Kind.IMAGE,)
        if is_sought and not any(Key(kind, mention.name) in every for kind in mention.kinds):
            yield mention


def _remedy(mention: Mention, known: Sequence[str], every: Collection[Key]) -> str:
    if mention.path[1] in JOINING:
        for kind in (Kind.CONTAINER, Kind.SERVICE):
            if Key(kind, mention.name) in every:
                return f"there is a {kind.value} of that name: write {kind.value.lower()}:{mention.name}"
    return suggest(mention.name, known, otherwise=f"declare it, with kind: {mention.kinds[0].value}")


def unjoinable(objects: Iterable[Declared], empty: Collection[Key]) -> Iterator[Problem]:
    """Namespaces of a Service without replicas: nobody has them. `empty`: the Services declared with none."""
    for declared in objects:
        for mention in mentions_of(declared):
            if mention.path[1] in JOINING and any(Key(kind, mention.name) in empty for kind in mention.kinds):
                message = f"the Service {mention.name} has no replica whose namespaces could be entered"
                yield declared.problem(mention.path, message, "give it deploy.replicas of 1 or more")


def misspelled_images(objects: Iterable[Declared], images: Collection[str]) -> Iterator[Problem]:
    """Images that are nearly a declared one: they would be sought at Docker Hub, and not be found."""
    meant: dict[str, str | None] = {}
    for declared in objects:
        for mention in mentions_of(declared):
            name = mention.name
            if mention.kinds != (Kind.IMAGE,) or name in images:
                continue
            if name not in meant:
                meant[name] = next((image for image in images if is_slip(name, image)), None)
            if meant[name] is not None:
                remedy = f"did you mean {meant[name]}? For the registry's image write docker.io/library/{name}"
                yield declared.problem(mention.path, f"there is no Image {name}", remedy)


def circular(objects: Sequence[Declared], replicas: Mapping[Key, Key]) -> Iterator[Problem]:
    """What must start before itself, told once for each knot, at the dependency of its least object.

    `replicas`: the Service that each replica's container belongs to.
    """
    by_key = {declared.key: declared for declared in objects}
    owners = {**replicas, **{key: key for key in by_key}}
    waits = {declared.key: dict(_waits(declared, owners)) for declared in objects}
    for cycle in cycles({key: [each for each in targets if each in by_key] for key, targets in waits.items()}):
        first, second = cycle[0], cycle[1 % len(cycle)]
        way = " -> ".join(str(key) for key in (*cycle, first))
        yield by_key[first].problem(waits[first][second].path, f"waits for itself: {way}", "remove one of these")


def _waits(declared: Declared, owners: Mapping[Key, Key]) -> Iterator[tuple[Key, Mention]]:
    """The objects that must start before this one, each with the mention that says so."""
    for mention in mentions_of(declared):
        for kind in mention.kinds if mention.before else ():
            owner = owners.get(Key(kind, mention.name))
            if owner is not None:
                yield owner, mention
