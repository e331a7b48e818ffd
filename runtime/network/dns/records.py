"""What the DNS server answers, as files: one directory per network, one small file per owner.

Written by the reconciler through `ensure_records` and `ensure_listen`, read by the server, which follows the
directory. Files rather than messages, so that names survive either side's death and can be read back as observed
state. An owner is whoever brings names: a container, or a service with its virtual IP. Several owners may bring the
same name (`tasks.web`): the answer is the union of their addresses. Does not allocate addresses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from ipaddress import ip_address, ip_interface
from pathlib import Path

from runtime.layout import Layout
from runtime.network.dns.control import ask_status
from runtime.network.dns.record_files import (
    INSIDE,
    NETWORK_FILE,
    NETWORKS,
    SERVER_GID,
    InsideRecord,
    NetworkRecords,
    OwnerRecords,
    is_dns_name,
    is_record_name,
    read_inside_file,
    read_network,
    read_network_file,
    read_owner_file,
)
from schemas.errors import Refused

DIRECTORY_MODE, FILE_MODE = 0o2750, 0o640
FOLLOW_SECONDS = 1.0


def networks_directory(layout: Layout) -> Path:
    """Where the networks' directories stand."""
    return layout.dns / NETWORKS


def ensure_listen(
    layout: Layout, network: str, addresses: Sequence[str], *, internal: bool = False, subnets: Sequence[str] = ()
) -> bool:
    """Have the server answer `network`'s clients at `addresses`; True when that changed something.

    Each address carries its prefix length (`10.1.0.1/24`), since only clients within that subnet are answered: a
    container of another network also reaches the address. A network without an address of the host's has `subnets`
    alone: its containers ask within their own namespaces. A running server listens once this returns. Raises Refused.
    """
    try:
        if any("/" not in address for address in addresses):
            raise ValueError("a gateway address lacks its prefix length, as in 10.1.0.1/24")
        listen = [str(ip_interface(address)) for address in addresses]
    except ValueError as error:
        raise Refused(str(error), object=f"Network/{network}", step="record its DNS addresses") from error
    content: dict[str, object] = {"listen": listen, "internal": internal}
    changed = _write(layout, network, NETWORK_FILE, content | ({"subnets": list(subnets)} if subnets else {}))
    if changed:
        _let_server_follow(layout)
    return changed


def remove_listen(layout: Layout, network: str) -> None:
    """Stop answering for `network` and forget all its records."""
    directory = networks_directory(layout) / _file_name(network)
    with suppress(FileNotFoundError):
        (directory / NETWORK_FILE).unlink(missing_ok=True)
        for path in directory.iterdir():
            path.unlink(missing_ok=True)
        directory.rmdir()
        _let_server_follow(layout)


def ensure_records(
    layout: Layout,
    network: str,
    owner: str,
    names: Sequence[str],
    addresses: Sequence[str],
    resolvers: Sequence[str] = (),
) -> bool:
    """Have `names` resolve to `addresses` in `network`; True when that changed something. Raises Refused."""
    try:
        records = {
            "names": [_dns_name(name) for name in dict.fromkeys(names)],
            "addresses": [str(ip_address(address)) for address in addresses],
            "resolvers": [str(ip_address(address)) for address in resolvers],
        }
    except ValueError as error:
        raise Refused(str(error), object=f"Network/{network}", step=f"record the names of {owner}") from error
    return _write(layout, network, _file_name(owner), records)


def remove_records(layout: Layout, network: str, owner: str) -> None:
    """Forget what `owner` brought to `network`."""
    (networks_directory(layout) / _file_name(network) / _file_name(owner)).unlink(missing_ok=True)


def read_records(layout: Layout) -> dict[str, NetworkRecords]:
    """Every network's records as they stand; a file that cannot be read counts as absent."""
    try:
        paths = sorted(networks_directory(layout).iterdir())
    except FileNotFoundError:
        return {}
    return {path.name: read_network(path) for path in paths if is_record_name(path.name)}


def read_owner(layout: Layout, network: str, owner: str) -> OwnerRecords | None:
    """What `owner` brings to `network`, as it stands; None where that is nothing."""
    return read_owner_file(networks_directory(layout) / _file_name(network) / _file_name(owner))


def is_known(layout: Layout, network: str) -> bool:
    """Whether the server was told of the network itself."""
    return read_network_file(networks_directory(layout) / _file_name(network) / NETWORK_FILE) is not None


def record_inside(layout: Layout, owner: str, record: InsideRecord) -> None:
    """Note in which process's network namespace the server has a socket for `owner`."""
    _write_in(layout, networks_directory(layout) / INSIDE, _file_name(owner), asdict(record))


def forget_inside(layout: Layout, owner: str) -> None:
    """Idempotent."""
    (networks_directory(layout) / INSIDE / _file_name(owner)).unlink(missing_ok=True)


def read_inside(layout: Layout) -> dict[str, InsideRecord]:
    """Which containers the server has a socket in, or should have."""
    try:
        paths = sorted((networks_directory(layout) / INSIDE).iterdir())
    except FileNotFoundError:
        return {}
    found = {path.name: read_inside_file(path) for path in paths if is_record_name(path.name)}
    return {name: record for name, record in found.items() if record is not None}


def ensure_directory(path: Path) -> None:
    """A directory the server may read and nobody else but root."""
    path.mkdir(parents=True, exist_ok=True)
    status = path.stat()
    if os.geteuid() == 0 and status.st_gid != SERVER_GID:
        os.chown(path, 0, SERVER_GID)
    if status.st_mode & 0o7777 != DIRECTORY_MODE:  # The set-group-ID bit hands the group to all that is made below.
        path.chmod(DIRECTORY_MODE)


def _let_server_follow(layout: Layout) -> None:
    """A server that tells its status has seen every change before it; one that does not will see them when it can."""
    ask_status(layout.dns, FOLLOW_SECONDS)


def _write(layout: Layout, network: str, name: str, content: Mapping[str, object]) -> bool:
    return _write_in(layout, networks_directory(layout) / _file_name(network), name, content)


def _write_in(layout: Layout, directory: Path, name: str, content: Mapping[str, object]) -> bool:
    data = json.dumps(content, separators=(",", ":")).encode()
    with suppress(FileNotFoundError):
        if (directory / name).read_bytes() == data:
            return False
    for each in (layout.dns, directory.parent, directory):
        ensure_directory(each)
    temporary = directory / f".{name}.{os.getpid()}"
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), FILE_MODE)
        file.write(data)
    temporary.rename(directory / name)
    return True


def _file_name(name: str) -> str:
    if not is_record_name(name):
        raise Refused(f"{name!r} cannot name DNS records", step="record names")
    return name


def _dns_name(name: str) -> str:
    folded = name.removesuffix(".").lower()
    if not is_dns_name(folded):
        raise ValueError(f"{name!r} is not a DNS name: labels of at most 63 letters, digits, - and _ joined by dots")
    return folded
