"""Ports of the host that two objects claim, or that the replicas of one cannot share.

Pure: called by `check`. Two claims collide when protocol and port are the same and one address of the host would serve
both: a port published without an address is published on every one. A range asks for any one port of it, so it
collides only when all of it is claimed. What already listens on the host is not known here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.errors import Problem
from schemas.field_path import Path
from schemas.port import PublishedPort
from schemas.service import ServiceSpec

Claims = dict[tuple[str, int], list["Claim"]]


@dataclass(frozen=True, slots=True)
class Claim:
    """One entry of `ports` that asks for ports of the host."""

    declared: Declared
    path: Path
    port: PublishedPort
    first: int
    last: int

    @property
    def copies(self) -> int:
        """How many containers publish it by themselves."""
        spec = self.declared.spec
        return spec.deploy.replicas if isinstance(spec, ServiceSpec) and self.port.mode == "host" else 1

    def __str__(self) -> str:
        numbers = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        address = f"{self.port.host_ip} port " if self.port.host_ip else ""
        return f"{address}{numbers}/{self.port.protocol}"


def port_problems(objects: Collection[Declared], others: Collection[Declared]) -> Iterator[Problem]:
    """Every claim of `objects` that an earlier one of theirs, or one of `others`, leaves no port for."""
    taken: Claims = {}
    for claim in _claims(others):
        if claim.first == claim.last:
            taken.setdefault((claim.port.protocol, claim.first), []).append(claim)
    claims = list(_claims(objects))
    for claim in claims:
        yield from _too_few_for_replicas(claim)
        if claim.first == claim.last:
            yield from _taken(claim, taken)
            taken.setdefault((claim.port.protocol, claim.first), []).append(claim)
    for claim in claims:
        if claim.first != claim.last:
            yield from _taken(claim, taken)


def _claims(objects: Collection[Declared]) -> Iterator[Claim]:
    for declared in objects:
        if isinstance(declared.spec, ContainerTemplate):
            for index, port in enumerate(declared.spec.ports):
                if port.published is not None:
                    published = port.published
                    yield Claim(declared, ("spec", "ports", index), port, published.first, published.last)


def _taken(claim: Claim, taken: Claims) -> Iterator[Problem]:
    """A problem when every port of the claim is held by another that shares an address with it."""
    holder: Claim | None = None
    for number in range(claim.first, claim.last + 1):
        holders = taken.get((claim.port.protocol, number), [])
        holder = next((each for each in holders if _share_address(each.port.host_ip, claim.port.host_ip)), None)
        if holder is None:
            return
    if holder is not None:
        where = f"{holder.declared.key} at {holder.declared.place(holder.path)}"
        yield claim.declared.problem(
            claim.path, f"{claim} of the host is already published by {where}", "publish another port of the host"
        )


def _share_address(one: str | None, two: str | None) -> bool:
    if one is None or two is None or one == two:
        return True
    first, second = ipaddress.ip_address(one), ipaddress.ip_address(two)
    return first.version == second.version and (first.is_unspecified or second.is_unspecified)


def _too_few_for_replicas(claim: Claim) -> Iterator[Problem]:
    """Replicas that publish by themselves need a port of the host each."""
    count = claim.last - claim.first + 1
    if claim.copies > count:
        message = f"{claim.copies} replicas cannot each publish {claim} of the host"
        remedy = f"write mode: ingress, or a range of {claim.copies} ports"
        yield claim.declared.problem(claim.path, message, remedy)
