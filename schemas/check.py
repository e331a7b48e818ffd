"""What is wrong between objects: across the whole input, before anything is touched.

Pure: called after `load` with everything that is applied together. Duplicates, dangling references, cycles and the
names of replicas are looked at here; ports and addresses that two objects claim, in `check_ports` and
`check_addresses`. What is wrong within one object its model has refused already, and what the machine already uses is
not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from schemas.check_addresses import address_problems
from schemas.check_ports import port_problems
from schemas.cycles import cycles
from schemas.envelope import Declared
from schemas.errors import Problem
from schemas.mentions import JOINING, Mention, mentions_of
from schemas.names import Key, Kind
from schemas.nearest import is_slip, suggest
from schemas.service import ServiceSpec

IMPLIED = frozenset({Key(Kind.NETWORK, "default")})
"""What exists wherever it is named, as in Compose."""
LONGEST_NAME = 63


def check(objects: Sequence[Declared], known: Collection[Key] = (), others: Collection[Declared] = ()) -> list[Problem]:
    """Every problem between `objects`, sorted.

    `known`: keys of what exists already, so that naming it is not dangling. `others`: what other sets declare; known
    too, and their ports, addresses and subnets are taken. No problem of theirs is reported. Of two objects that claim
    one thing, the problem is that of the one written later, in whatever order they are given.
    """
    objects = sorted(objects, key=Declared.place)
    replicas = [key for declared in (*objects, *others) for key, _ in replica_keys(declared)]
    every = {*known, *IMPLIED, *replicas, *(declared.key for declared in (*objects, *others))}
    return sorted(
        [
            *duplicates(objects),
            *dangling(objects, every),
            *circular(objects),
            *unusable_replica_names(objects, others),
            *port_problems(objects, others),
            *address_problems(objects, others),
        ]
    )


def replica_keys(declared: Declared) -> Iterator[tuple[Key, Key]]:
    """The container that each replica of a Service will be, and the Service."""
    if isinstance(declared.spec, ServiceSpec):
        for number in range(1, declared.spec.deploy.replicas + 1):
            yield Key(Kind.CONTAINER, f"{declared.key.name}-{number}"), declared.key


def duplicates(objects: Iterable[Declared]) -> Iterator[Problem]:
    """Objects declared a second time."""
    first: dict[Key, Declared] = {}
    for declared in objects:
        earlier = first.setdefault(declared.key, declared)
        if earlier is not declared:
            message = f"was already declared at {earlier.place()}"
            yield declared.problem((), message, "remove one of the two, or rename it")


def dangling(objects: Iterable[Declared], every: Collection[Key]) -> Iterator[Problem]:
    """References to what is not among `every` object declared or known."""
    names = {kind: sorted(key.name for key in every if key.kind is kind) for kind in Kind}
    for declared in objects:
        for mention in mentions_of(declared):
            if any(Key(kind, mention.name) in every for kind in mention.kinds):
                continue
            if mention.kinds == (Kind.IMAGE,):
                yield from _misspelled_image(declared, mention, names[Kind.IMAGE])
            elif mention.required:
                message = f"there is no {' or '.join(kind.value for kind in mention.kinds)} {mention.name}"
                known = [name for kind in mention.kinds for name in names[kind]]
                yield declared.problem(mention.path, message, _remedy(mention, known, every))


def _remedy(mention: Mention, known: Sequence[str], every: Collection[Key]) -> str:
    if mention.path[1] in JOINING:
        for kind in (Kind.CONTAINER, Kind.SERVICE):
            if Key(kind, mention.name) in every:
                return f"there is a {kind.value} of that name: write {kind.value.lower()}:{mention.name}"
    return suggest(mention.name, known, otherwise=f"declare it, with kind: {mention.kinds[0].value}")


def _misspelled_image(declared: Declared, mention: Mention, images: Iterable[str]) -> Iterator[Problem]:
    """An image that is nearly the name of a declared one would be sought at Docker Hub, and not be found."""
    meant = next((image for image in images if is_slip(mention.name, image)), None)
    if meant is not None:
        remedy = f"did you mean {meant}? For the registry's image write docker.io/library/{mention.name}"
        yield declared.problem(mention.path, f"there is no Image {mention.name}", remedy)


def circular(objects: Sequence[Declared]) -> Iterator[Problem]:
    """What must start before itself, told once for each knot, at the dependency of its least object."""
    owners = {key: owner for declared in objects for key, owner in replica_keys(declared)}
    owners |= {declared.key: declared.key for declared in objects}
    waits = {declared.key: dict(_waits(declared, owners)) for declared in objects}
    by_key = {declared.key: declared for declared in objects}
    for cycle in cycles({key: list(targets) for key, targets in waits.items()}):
        first, second = cycle[0], cycle[1 % len(cycle)]
        way = " -> ".join(str(key) for key in (*cycle, first))
        yield by_key[first].problem(waits[first][second].path, f"waits for itself: {way}", "remove one of these")


def _waits(declared: Declared, owners: dict[Key, Key]) -> Iterator[tuple[Key, Mention]]:
    """The declared objects that must start before this one, each with the mention that says so."""
    for mention in mentions_of(declared):
        for kind in mention.kinds if mention.before else ():
            owner = owners.get(Key(kind, mention.name))
            if owner is not None:
                yield owner, mention


def unusable_replica_names(objects: Iterable[Declared], others: Iterable[Declared]) -> Iterator[Problem]:
    """Services whose replicas would have the name of a declared container, or one that is too long."""
    containers = {each.key: each for each in (*objects, *others) if each.key.kind is Kind.CONTAINER}
    for declared in objects:
        for key, _ in replica_keys(declared):
            if key in containers:
                message = f"its replica {key.name} has the name of the container at {containers[key].place()}"
                yield declared.problem((), message, "rename one of the two")
        longest = (
            f"{declared.key.name}-{declared.spec.deploy.replicas}" if isinstance(declared.spec, ServiceSpec) else ""
        )
        if len(longest) > LONGEST_NAME:
            message = f"its replica {longest} has a name of more than {LONGEST_NAME} characters"
            yield declared.problem(("metadata", "name"), message, "write a shorter name")
