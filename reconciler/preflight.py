"""What the host itself stands in the way of, found before anything is touched: ports something listens on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reconciler.desired import Desired, Observed
from reconciler.wanted.networks import split
from runtime.network.host import read_listeners, read_process_of
from runtime.network.records import Listener, Protocol
from schemas.container import ContainerTemplate
from schemas.errors import Invalid, Place, Problem
from schemas.field_path import Path, format_path
from schemas.names import Key


def refuse_conflicts(desired: Mapping[Key, Desired], observed: Mapping[Key, Observed]) -> None:
    """Raises Invalid for each new host port that a process of the host already listens on."""
    wanted = list(_new_ports(desired, observed))
    if not wanted:
        return
    listeners = read_listeners()
    problems = [problem for want, at in wanted for problem in _conflicts(want, at, listeners)]
    if problems:
        raise Invalid(problems)


def _new_ports(desired: Mapping[Key, Desired], observed: Mapping[Key, Observed]) -> Iterator[tuple[Desired, str]]:
    for key, want in desired.items():
        have = observed[key].asked if key in observed else {}
        for at in want.facts.get("published", {}):
            if at not in have.get("published", {}):
                yield want, at
        for network, balance in want.facts.get("balance", {}).items():
            known = (have.get("balance", {}).get(network) or {}).get("ports", {})
            for at in balance.get("ports", {}):
                if at not in known:
                    yield want, at


def _conflicts(want: Desired, at: str, listeners: Iterable[Listener]) -> Iterator[Problem]:
    protocol, _, host = at.partition(" ")
    address, port = split(host)
    for listener in listeners:
        if listener.blocks(Protocol(protocol), port, None if address.is_unspecified else address, address.version):
            process = read_process_of(listener)
            by = f" ({process})" if process else ""
            message = f"the host already listens on {protocol} port {port}{by}"
            path = _written(want, protocol, port)
            place = want.place_of(path) or Place("-", 1, 1)
            remedy = "publish another port, or end that process"
            yield Problem(place, str(want.key), format_path(path), message, remedy)
            return


def _written(want: Desired, protocol: str, port: int) -> Path:
    """The entry of `ports` that asks for it; all of them where it was given one of a range."""
    spec = want.declared.spec if want.declared is not None else None
    entries = spec.ports if isinstance(spec, ContainerTemplate) else ()
    for index, entry in enumerate(entries):
        if entry.protocol == protocol and entry.published is not None and port in entry.published.ports:
            return "spec", "ports", index
    return "spec", "ports"
