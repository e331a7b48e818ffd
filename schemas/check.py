"""What is wrong between objects: across the whole input, before anything is touched.

Pure: called after `load` with everything that is applied together. Duplicates and the names of replicas are looked at
here, references in `check_references`, ports and addresses that two objects claim in `check_ports` and
`check_addresses`. What is wrong within one object its model has refused already, and what the machine already uses is
not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from schemas.check_addresses import address_problems
from schemas.check_ports import port_problems
from schemas.check_references import circular, dangling, unjoinable
from schemas.envelope import Declared
from schemas.errors import Problem
from schemas.names import Key, Kind
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
    replicas = {key: each.key for each in (*objects, *others) for key in replica_keys(each)}
    empty = {each.key for each in (*objects, *others) if isinstance(each.spec, ServiceSpec)} - {*replicas.values()}
    every = {*known, *IMPLIED, *replicas, *(each.key for each in (*objects, *others))}
    return sorted(
        [
            *duplicates(objects),
            *dangling(objects, every),
            *unjoinable(objects, empty),
            *circular(objects, replicas),
            *unusable_replica_names(objects, others),
            *port_problems(objects, others),
            *address_problems(objects, others),
        ]
    )


def replica_keys(service: Declared) -> Iterator[Key]:
    """The containers that the replicas of a Service will be; none for other kinds."""
    if isinstance(service.spec, ServiceSpec):
        for number in range(1, service.spec.deploy.replicas + 1):
            yield Key(Kind.CONTAINER, f"{service.key.name}-{number}")


def duplicates(objects: Iterable[Declared]) -> Iterator[Problem]:
    """Objects declared a second time."""
    first: dict[Key, Declared] = {}
    for declared in objects:
        earlier = first.setdefault(declared.key, declared)
        if earlier is not declared:
            message = f"was already declared at {earlier.place()}"
            yield declared.problem((), message, "remove one of the two, or rename it")


def unusable_replica_names(objects: Iterable[Declared], others: Iterable[Declared]) -> Iterator[Problem]:
    """Services whose replicas would have the name of a declared container, or one that is too long."""
    containers = {each.key: each for each in (*objects, *others) if each.key.kind is Kind.CONTAINER}
    for declared in objects:
        for key in replica_keys(declared):
            if key in containers:
                message = f"its replica {key.name} has the name of the container at {containers[key].place()}"
                yield declared.problem((), message, "rename one of the two")
        longest = (
            f"{declared.key.name}-{declared.spec.deploy.replicas}" if isinstance(declared.spec, ServiceSpec) else ""
        )
        if len(longest) > LONGEST_NAME:
            message = f"its replica {longest} has a name of more than {LONGEST_NAME} characters"
            yield declared.problem(("metadata", "name"), message, "write a shorter name")
