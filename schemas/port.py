"""One published port of a container: `"127.0.0.1:8080:80/tcp"` or its long form.

A range in the short form becomes one entry for each port; `"8000-8010:80"` stays one entry whose host port is any
free one of the range. Whether the host's port is taken is not known here.

Source: Compose Specification, services, ports.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from schemas.addresses import Ip, Port, PortRange, Ports, read_ip, read_port_range
from schemas.faults import collect
from schemas.field import Spec, part
from schemas.plain_types import Line, list_of, one_of, read_text
from schemas.spelling import INTO_BAG, SORTED, Spelling, pattern

TRANSPORT = one_of("tcp", "udp", "sctp")
Transport = Annotated[str, TRANSPORT]
read_protocol = TRANSPORT.read
MOST_PORTS = 65535
"""Entries that one list of ports may expand to; also the highest port."""


class PublishedPort(Spec):
    """A port of the container, and the port of the host it is reached at."""

    target: Annotated[Port, part("Port inside the container.")]
    published: Annotated[
        Ports | None, part("Port of the host, or a range of which one is taken.", default="a free port of the host")
    ] = None
    host_ip: Annotated[Ip | None, part("Address of the host it is reached at.", default="every address")] = None
    protocol: Annotated[Transport, part("Transport protocol.")] = "tcp"
    mode: Annotated[
        Annotated[str, one_of("ingress", "host")],
        part("`ingress` balances over the replicas of a service, `host` publishes each replica by itself."),
    ] = "ingress"
    app_protocol: Annotated[Line | None, part("What is spoken on it, as http; for people and tools.")] = None
    name: Annotated[Line | None, part("What the port is for, in a word.")] = None


def read_ports(value: Any) -> list[Any]:
    """A list of numbers, short texts and maps, as maps. Raises pydantic's ValidationError with each item's index."""
    if not isinstance(value, list | tuple):
        raise ValueError("is no list of ports; write - and a port on each line, as in - 8080:80")
    found: list[Any] = []

    def expand(item: Any) -> None:
        if len(found) <= MOST_PORTS:
            found.extend(_entries(item))

    collect("ports", value, expand)
    if len(found) > MOST_PORTS:
        raise ValueError(f"asks for more than {MOST_PORTS} ports; write fewer or shorter ranges")
    return found


def _entries(item: Any) -> list[Any]:
    return [item] if isinstance(item, Mapping | PublishedPort) else expand_short(read_text(item).strip())


def expand_short(text: str) -> list[dict[str, Any]]:
    """`[HOST_IP:][PUBLISHED:]TARGET[/PROTOCOL]`, each a port or range, as one map for each port. Raises ValueError."""
    whole, _, protocol = text.partition("/")
    head, _, target_text = whole.rpartition(":")
    address, _, published_text = head.rpartition(":")
    target = read_port_range(target_text)
    common: dict[str, Any] = {"protocol": read_protocol(protocol or "tcp")}
    if address:
        common["host_ip"] = read_ip(address)
    if not published_text:
        return [{**common, "target": port} for port in target.ports]
    return [{**common, **pair} for pair in _pairs(read_port_range(published_text), target)]


def _pairs(published: PortRange, target: PortRange) -> list[dict[str, Any]]:
    if target.count == 1:
        return [{"target": target.first, "published": published}]
    if published.count != target.count:
        last = min(published.first + target.count - 1, 65535)
        raise ValueError(
            f"maps {published.count} ports to {target.count}; write two ranges of one length, "
            f"as in {published.first}-{last}:{target}"
        )
    pairs = zip(published.ports, target.ports, strict=True)
    return [{"target": inside, "published": PortRange(outside, outside)} for outside, inside in pairs]


def read_expose(value: Any) -> tuple[str, ...]:
    """`80`, `"80/udp"`, `"8000-8002"` as `80/tcp`, …: one text for each port. Raises ValueError."""
    if not isinstance(value, list | tuple):
        raise ValueError("is no list of ports; write - and a port on each line, as in - 8080/tcp")
    found: dict[str, None] = {}
    for item in value:
        ports, _, protocol = read_text(item).strip().partition("/")
        transport = read_protocol(protocol or "tcp")
        found.update((f"{port}/{transport}", None) for port in read_port_range(ports).ports)
        if len(found) > MOST_PORTS:
            raise ValueError(f"names more than {MOST_PORTS} ports; write fewer or shorter ranges")
    return tuple(found)


_RANGE = r"[0-9]{1,5}(-[0-9]{1,5})?"
SHORT_PORT = {
    "anyOf": [
        pattern(rf"(\[?[0-9A-Fa-f:.]+\]?:)?({_RANGE})?:?{_RANGE}(/(tcp|udp|sctp))?"),
        {"type": "integer", "minimum": 1, "maximum": MOST_PORTS},
    ]
}
EXPOSED = list_of(
    {"anyOf": [pattern(rf"{_RANGE}(/(tcp|udp|sctp))?"), {"type": "integer", "minimum": 1, "maximum": MOST_PORTS}]}
)

PublishedPorts = Annotated[
    tuple[PublishedPort, ...],
    INTO_BAG,
    SORTED,
    Spelling(read_ports, "list of port", items=SHORT_PORT),
]
ExposedPorts = Annotated[
    tuple[str, ...], Spelling(read_expose, "list of port/protocol", EXPOSED, final=True), INTO_BAG, SORTED
]
