"""The format of the record files: read by the server, and by the engine that observes them.

One directory per network, one small JSON file per owner, and one (`@network`) for the network itself. A file that is
absent or broken is simply not there: the engine writes it anew. Writing is the engine's alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network
from pathlib import Path

NETWORKS = "networks"
NETWORK_FILE = "@network"
INSIDE = "@inside"
"""Beside the networks: which containers have a socket of the server's in their own network namespace."""
INSIDE_ADDRESS = "127.0.0.11"
"""Where a container asks within its own network namespace: Docker's, so that images which know it feel at home."""
SERVER_UID = SERVER_GID = 65534
"""Who the server becomes once started: nobody, nogroup. The record files are readable to that group alone."""

NetworkFile = tuple[tuple[str, ...], bool, tuple[str, ...]]
NO_NETWORK: NetworkFile = ((), False, ())

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}")
_DNS_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class OwnerRecords:
    """One owner's names in one network: each name has every address, each address the first name (PTR).

    `resolvers`: addresses to forward this owner's other questions to; empty: the host's resolvers.
    """

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    resolvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkRecords:
    """One network: `listen` its gateways with prefix (`10.1.0.1/24`); `internal`: nothing is forwarded.

    `subnets` further ones of its own: of a network that has no gateway on this host.
    """

    listen: tuple[str, ...] = ()
    internal: bool = False
    owners: dict[str, OwnerRecords] = field(default_factory=dict)
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InsideRecord:
    """The process in whose network namespace the server has a socket; `asks`: the address families of
    the container's own resolvers, which it asks from there."""

    pid: int
    started: int
    asks: tuple[int, ...] = ()


def read_network(directory: Path) -> NetworkRecords:
    """All of one network's records."""
    listen, internal, subnets = read_network_file(directory / NETWORK_FILE) or NO_NETWORK
    return NetworkRecords(listen, internal, dict(read_owners(directory)), subnets)


def read_owners(directory: Path) -> Iterator[tuple[str, OwnerRecords]]:
    """The owners in one network's directory."""
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        for path in sorted(directory.iterdir()):
            records = read_owner_file(path) if is_record_name(path.name) else None
            if records is not None:
                yield path.name, records


def is_record_name(name: str) -> bool:
    """Whether a file's name is an owner's or a network's, and not the network's own file or one being written."""
    return _FILE_NAME.fullmatch(name) is not None


def read_network_file(path: Path) -> NetworkFile | None:
    """(listen, internal, subnets), or None where the file is absent or broken."""
    try:
        content = json.loads(path.read_bytes())
        listen = tuple(str(ip_interface(address)) for address in content["listen"])
        subnets = tuple(str(ip_network(subnet)) for subnet in content.get("subnets", ()))
        return listen, bool(content["internal"]), subnets
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_owner_file(path: Path) -> OwnerRecords | None:
    """One owner's records, or None where the file is absent or broken."""
    try:
        content = json.loads(path.read_bytes())
        return OwnerRecords(**{name: tuple(content[name]) for name in ("names", "addresses", "resolvers")})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_inside_file(path: Path) -> InsideRecord | None:
    """One container's, or None where the file is absent or broken."""
    try:
        content = json.loads(path.read_bytes())
        return InsideRecord(int(content["pid"]), int(content["started"]), tuple(map(int, content["asks"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_dns_name(name: str) -> bool:
    """Whether `name`, in lower case without a final dot, fits a packet."""
    return len(name) <= 253 and all(_DNS_LABEL.fullmatch(label) for label in name.split("."))
