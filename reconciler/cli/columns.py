"""What `get` tells of each kind, column by column: the narrow ones always, the others with `-o wide`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.cli.quantities import age_text, size_text
from reconciler.cli.seen import Seen
from reconciler.cli.standing import Standing, readiness
from reconciler.cli.table import shortened
from reconciler.status import Status
from schemas.names import Key, Kind

IMAGE_ORIGINS = ("ref", "archive", "rootfs", "build", "commit")
"""Fields of an Image, one of which says what it is made of."""


@dataclass(frozen=True, slots=True)
class Row:
    """One object to be told of; `replicas` are its containers' standings by name, `status` what programs are told,
    `stray` who changed it by hand, where a source feeds its set."""

    seen: Seen
    standing: Standing
    status: Status
    replicas: Mapping[str, Standing]
    now: float
    stray: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    text: Callable[[Row], str]
    wide: bool = False


def _names(keys: tuple[Key, ...]) -> str:
    return ",".join(key.name for key in keys)


def _spec(name: str) -> Callable[[Row], str]:
    return lambda row: str(row.seen.spec.get(name) or "")


def _age(row: Row) -> str:
    return age_text(row.now - row.seen.made_at) if row.seen.made_at else ""


def addresses(seen: Seen) -> list[str]:
    """Of a container's endpoints, or a Service's virtual ones."""
    if seen.key.kind is Kind.SERVICE:
        return [address for balance in _balances(seen) for address in balance.get("virtual", ())]
    endpoints = [endpoint for endpoint in seen.facts.get("endpoints", {}).values() if endpoint]
    return [address.partition("/")[0] for endpoint in endpoints for address in endpoint["addresses"]]


def _balances(seen: Seen) -> list[Mapping[str, Mapping[str, int]]]:
    return [balance for balance in seen.facts.get("balance", {}).values() if balance]


def ports(seen: Seen) -> list[str]:
    """`0.0.0.0:8080->80/tcp` of a container, `8080->80/tcp` of a Service."""
    if seen.key.kind is Kind.SERVICE:
        pairs = [pair for balance in _balances(seen) for pair in balance.get("ports", {}).items()]
        return [_port(at, str(inside)) for at, inside in pairs]
    return [_port(at, to.rpartition(":")[2]) for at, to in sorted(seen.facts.get("published", {}).items())]


def _port(at: str, inside: str) -> str:
    protocol, _, host = at.partition(" ")
    return f"{host}->{inside}/{protocol}"


def _image_source(row: Row) -> str:
    image = row.seen.image
    return image.reference if image is not None else _image_origin(row.seen.spec)


def _image_origin(spec: Mapping[str, Any]) -> str:
    """Where an image that is not made yet is to come from."""
    origin = next((spec[name] for name in IMAGE_ORIGINS if spec.get(name)), "")
    if isinstance(origin, Mapping):
        return str(origin.get("context") or origin.get("container") or "")
    return str(origin)


def _link(name: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        found = (row.seen.facts.get("link") or {}).get(name, "")
        return ",".join(found) if isinstance(found, list) else str(found)

    return text


def _subnets(row: Row) -> str:
    return ",".join((row.seen.facts.get("firewall") or {}).get("subnets", ()))


def _content_source(row: Row) -> str:
    for origin in ("file", "environment"):
        if origin in row.seen.spec:
            return f"{origin} {row.seen.spec[origin]}"
    return "inline"


def _limit(row: Row) -> str:
    volume = row.seen.volume
    return size_text(volume.size) if volume is not None and volume.size else ""


def _policy(row: Row) -> str:
    volume = row.seen.volume
    return volume.deletion_policy if volume is not None else ""


def _status(row: Row) -> str:
    stray = f"OutOfSync: {shortened(row.stray, 80)}" if row.stray else ""
    return "; ".join(filter(None, (row.standing.status, shortened(row.standing.next, 100), stray)))


STATUS = Column("STATUS", _status)
HEALTH = Column("HEALTH", lambda row: row.standing.health.value)
AGE = Column("AGE", _age)
SET = Column("SET", lambda row: row.seen.set, wide=True)
USERS = Column("USED BY", lambda row: _names(row.seen.users), wide=True)
IMAGE = Column("IMAGE", _spec("image"))
ADDRESSES = Column("ADDRESSES", lambda row: ",".join(addresses(row.seen)))
PORTS = Column("PORTS", lambda row: ",".join(ports(row.seen)))


def _followed(row: Row) -> str:
    """The directory or repository of a Source."""
    spec = row.seen.spec
    return str(spec.get("directory") or spec.get("git", {}).get("url", ""))


def _fed(row: Row) -> str:
    """The set that a Source's objects belong to."""
    return str(row.seen.spec.get("set") or row.seen.key.name)


CONTENT = (HEALTH, STATUS, Column("SOURCE", _content_source), AGE, SET, USERS)

COLUMNS: Mapping[Kind, tuple[Column, ...]] = {
    Kind.IMAGE: (
        HEALTH,
        Column("STATUS", lambda row: shortened(row.standing.status, 60)),
        Column("SOURCE", _image_source),
        Column("SIZE", lambda row: size_text(row.seen.image.size) if row.seen.image else ""),
        AGE,
        Column("PLATFORM", lambda row: str(row.seen.image.platform) if row.seen.image else "", wide=True),
        Column("DIGEST", lambda row: row.seen.image.digest[:19] if row.seen.image else "", wide=True),
        SET,
        USERS,
    ),
    Kind.CONTAINER: (
        HEALTH,
        STATUS,
        IMAGE,
        ADDRESSES,
        PORTS,
        AGE,
        Column("PID", lambda row: str(row.seen.process.pid or "") if row.seen.process else "", wide=True),
        Column("OWNER", lambda row: str(row.seen.record.owner or "") if row.seen.record else "", wide=True),
        Column("COMMAND", lambda row: shortened(" ".join(row.seen.spec.get("command") or ()), 40), wide=True),
        SET,
    ),
    Kind.VOLUME: (
        HEALTH,
        STATUS,
        Column("LIMIT", _limit),
        Column("ON DELETE", _policy),
        AGE,
        Column("PATH", lambda row: str(row.seen.volume.path) if row.seen.volume else "", wide=True),
        SET,
        USERS,
    ),
    Kind.NETWORK: (
        HEALTH,
        STATUS,
        Column("DRIVER", lambda row: str(row.seen.spec.get("driver", "bridge"))),
        Column("SUBNETS", _subnets),
        AGE,
        Column("GATEWAYS", _link("addresses"), wide=True),
        Column("MTU", _link("mtu"), wide=True),
        SET,
        USERS,
    ),
    Kind.SERVICE: (
        HEALTH,
        Column("READY", lambda row: "/".join(map(str, readiness(row.seen, row.replicas)))),
        STATUS,
        IMAGE,
        ADDRESSES,
        PORTS,
        AGE,
        Column("REPLICAS", lambda row: _names(row.seen.replicas), wide=True),
        SET,
    ),
    Kind.SECRET: CONTENT,
    Kind.CONFIG: CONTENT,
    Kind.SOURCE: (HEALTH, STATUS, Column("FROM", _followed), Column("FEEDS", _fed), AGE, SET, USERS),
}


def cells(row: Row, *, wide: bool, origin: bool, qualified: bool) -> list[str]:
    """The row's cells; `qualified`: the name with its kind."""
    name = str(row.seen.key) if qualified else row.seen.key.name
    found = [column.text(row) for column in _shown(row.seen.key.kind, wide)]
    return [name, *found, *([origin_text(row.seen)] if origin else [])]


def titles(kind: Kind, *, wide: bool, origin: bool) -> list[str]:
    """The head of a kind's table, as long as its `cells`."""
    return ["NAME", *(column.title for column in _shown(kind, wide)), *(["ORIGIN"] if origin else [])]


def _shown(kind: Kind, wide: bool) -> list[Column]:
    return [column for column in COLUMNS[kind] if wide or not column.wide]


def origin_text(seen: Seen) -> str:
    """`shop/db.yaml:12 (set shop)`; a replica says whose it is."""
    if seen.entry is None:
        owner = seen.record.owner if seen.record is not None else None
        return f"{owner} (set {seen.set})" if owner is not None else "by hand"
    commit = f" at {seen.entry.commit}" if seen.entry.commit else ""
    return f"{seen.entry.file}:{seen.entry.line}{commit} (set {seen.entry.set})"
