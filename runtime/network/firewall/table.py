"""Our two tables: made, kept whole, run against, removed.

Called by the other files of `firewall`. Whether the rules are as written is told by a mark inside the kernel: an
empty chain whose name holds a digest of what nft printed right after the rules were made. So it needs no file, and a
changed rule, a changed nft or a changed trimtab shows alike, and is mended alike.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.kernel import nftables
from runtime.layout import Layout
from runtime.network.border import border
from runtime.network.firewall.base import BRIDGE_CHAINS, CHAINS, table_text
from runtime.network.firewall.elements import Placed, all_of, commands, placed
from runtime.network.firewall.listing import Listing, parse_listing
from runtime.network.firewall.text import lock

_MARK = "written-"
_STANDING = ("loopback6", "unrouted4", "unrouted6")
_BRIDGE_CALLS_IP6TABLES = Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables")


@contextmanager
def firewall_lock(layout: Layout) -> Iterator[None]:
    """One change that reads first at a time, between threads and processes."""
    descriptor = lock(str(layout.run))
    try:
        yield
    finally:
        os.close(descriptor)


@border("firewall")
def ensure_table(layout: Layout) -> None:
    """Make both tables whole in one transaction, elements and the administrator's chain kept.

    Raises Refused, RetryLater.
    """
    with firewall_lock(layout):
        ensure_whole(layout, *read_tables(layout))


def ensure_whole(layout: Layout, inet: Listing, bridge: Listing) -> None:
    """The same for a caller who holds the lock and has read both tables. Raises OSError."""
    if is_whole(layout, inet, bridge):
        return
    standing = commands(layout, all_of(inet, _STANDING), _standing_elements(layout))
    nftables.run(table_text(layout) + "\n".join(standing))
    written = read_tables(layout)
    if not _is_complete(*written):
        raise OSError(errno.EAGAIN, "somebody else changed our rules while they were written")
    old = [name for name in written[0].chains if name.startswith(_MARK)]
    marks = [f"delete chain inet {layout.nft_table} {name}" for name in old]
    nftables.run("\n".join([*marks, f"add chain inet {layout.nft_table} {_mark(*written)}"]))


@border("firewall")
def remove_table(layout: Layout) -> None:
    """Delete both tables; having none is as good. Raises Refused, RetryLater."""
    with firewall_lock(layout):
        for family in ("inet", "bridge"):
            table = f"table {family} {layout.nft_table}"
            nftables.run(f"add {table}\ndelete {table}")


def read_tables(layout: Layout) -> tuple[Listing, Listing]:
    """What the tables `inet` and `bridge` hold; empty where there is none. Raises OSError."""
    return _read("inet", layout), _read("bridge", layout)


def is_whole(layout: Layout, inet: Listing, bridge: Listing) -> bool:
    """Whether all that belongs to no owner is as it was written: every rule, and what the host decides."""
    standing = frozenset(all_of(inet, _STANDING)) == _standing_elements(layout)
    return standing and _mark(inet, bridge) in inet.chains


def unrouted_record(layout: Layout, version: int) -> Path:
    """Where `forwarding.py` writes down between which links the host did not forward IP `version` before us."""
    return layout.run / f"unrouted{version}.json"


def _standing_elements(layout: Layout) -> frozenset[Placed]:
    found = {placed("loopback6", one) for one in _loopback6()}
    for version in (4, 6):
        record = unrouted_record(layout, version)
        if record.exists():
            found |= {placed(f"unrouted{version}", link) for link in json.loads(record.read_text())}
    return frozenset(found)


def _loopback6() -> list[str]:
    """Where the host may reach ports published for IPv6, of the loopback addresses.

    An answer translated back to ::1 is let in from a bridge that has a local route for it (`bridge.py`), but not when
    br_netfilter translates before the bridge hands it up, as it does where its switch is on.
    """
    try:
        return [] if _BRIDGE_CALLS_IP6TABLES.read_text().strip() == "1" else ["::1"]
    except FileNotFoundError:
        return ["::1"]


def _is_complete(inet: Listing, bridge: Listing) -> bool:
    """Whether each chain has as many lines as it should: its rules, and its hook."""
    return all(
        len(listing.chains.get(chain.name, ())) == len(chain.rules) + bool(chain.hook)
        for listing, chains in ((inet, CHAINS), (bridge, BRIDGE_CHAINS))
        for chain in chains
    )


def _read(family: str, layout: Layout) -> Listing:
    try:
        return parse_listing(nftables.run(f"list table {family} {layout.nft_table}"))
    except FileNotFoundError:
        return Listing()


def _mark(inet: Listing, bridge: Listing) -> str:
    written = repr((CHAINS, BRIDGE_CHAINS))
    printed = [(chain.name, inet.chains.get(chain.name)) for chain in CHAINS]
    printed += [(chain.name, bridge.chains.get(chain.name)) for chain in BRIDGE_CHAINS]
    return _MARK + hashlib.sha256(f"{written}{printed}".encode()).hexdigest()[:16]
