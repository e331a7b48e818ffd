"""Our two tables: made, kept whole, run against, removed.

Called by the other files of `firewall`. Whether the rules are as written is told by a mark inside the kernel: an
empty chain whose name holds a digest of what nft printed right after the rules were made. So it needs no file, and a
changed rule, a changed nft or a changed trimtab shows alike, and is mended alike.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.kernel import nftables
from runtime.layout import Layout
from runtime.network.border import border
from runtime.network.firewall.base import BRIDGE_CHAINS, CHAINS, table_text
from runtime.network.firewall.listing import Listing, parse_listing

_MARK = "written-"
_BRIDGE_CALLS_IP6TABLES = Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables")


@contextmanager
def firewall_lock(layout: Layout) -> Iterator[None]:
    """One change that reads first at a time, between threads and processes."""
    layout.run.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(layout.run / "firewall.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@border("firewall")
def ensure_table(layout: Layout) -> None:
    """Make both tables whole in one transaction, elements and the administrator's chain kept.

    Raises Refused, RetryLater.
    """
    with firewall_lock(layout):
        if not is_whole(*read_tables(layout)):
            write_table(layout)


def write_table(layout: Layout) -> None:
    """The same without looking first; the lock is the caller's."""
    loopback = "".join(f"add element inet {layout.nft_table} loopback6 {{ {one} }}\n" for one in _loopback6())
    nftables.run(f"{table_text(layout)}flush set inet {layout.nft_table} loopback6\n{loopback}")
    tables = read_tables(layout)
    old = [name for name in tables[0].chains if name.startswith(_MARK)]
    commands = [f"delete chain inet {layout.nft_table} {name}" for name in old]
    nftables.run("\n".join([*commands, f"add chain inet {layout.nft_table} {_mark(*tables)}"]))


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


def is_whole(inet: Listing, bridge: Listing) -> bool:
    """Whether every rule of the unchanging half is as it was written."""
    loopback = [element.key[0] for element in inet.of("loopback6")]
    return _mark(inet, bridge) in inet.chains and loopback == _loopback6()


def _loopback6() -> list[str]:
    """Where the host may reach ports published for IPv6, of the loopback addresses.

    An answer translated back to ::1 is let in from a bridge that has a local route for it (`bridge.py`), but not when
    br_netfilter translates before the bridge hands it up, as it does where its switch is on.
    """
    try:
        return [] if _BRIDGE_CALLS_IP6TABLES.read_text().strip() == "1" else ["::1"]
    except FileNotFoundError:
        return ["::1"]


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
