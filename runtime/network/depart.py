"""`python -m runtime.network.depart`: a container's farewell to the firewall, as an OCI poststop hook.

Run by the container's monitor when its process has ended, also when no process of the engine runs: withdraws its
published ports, takes it out of the balancing of Services, and forgets connections to it. All it needs is in the
firewall itself. The incarnation keeps the farewell of one start from touching the next. Without pyroute2, to be quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.kernel import nftables
from runtime.layout import DEFAULT_ROOT, DEFAULT_RUN, Layout
from runtime.network.border import border
from runtime.network.conntrack import forget_connections
from runtime.network.firewall.elements import Placed, address_of, all_of, commands
from runtime.network.firewall.listing import Listing
from runtime.network.firewall.publications import MAPS, owner_comment, owner_of
from runtime.network.firewall.services import departures, is_of, read_balances
from runtime.network.firewall.table import firewall_lock, read_tables
from runtime.network.records import Address


@border("firewall")
def depart(layout: Layout, container: str, incarnation: str = "") -> frozenset[Address]:
    """Take a container out of the firewall; the addresses it had there. An empty incarnation means any.

    Raises Refused, RetryLater.
    """
    with firewall_lock(layout):
        inet, _ = read_tables(layout)
        published = _published(inet, container, incarnation)
        changes = commands(layout, published, ()) + departures(layout, inet, container, incarnation)
        if changes:
            nftables.run("\n".join(changes))
    addresses = {address_of(one.element.value[0]) for one in published}
    for balance in read_balances(inet).values():
        addresses |= {one.address for one in balance.backends if is_of(one, container, incarnation)}
    forget_connections(sorted(addresses, key=str))
    return frozenset(addresses)


def hook(layout: Layout, container: str, incarnation: str = "") -> dict[str, object]:
    """The `poststop` hook of runtime-spec (config.md, POSIX-platform hooks) for a bundle's configuration."""
    arguments = [sys.executable, "-m", "runtime.network.depart", f"--root={layout.root}", f"--run={layout.run}"]
    arguments += [f"--container={container}", f"--incarnation={incarnation}"]
    return {"path": sys.executable, "args": arguments, "timeout": 10}


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="runtime.network.depart", description="Take a container out of the firewall.")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT)
    parser.add_argument("--run", type=Path, default=DEFAULT_RUN)
    parser.add_argument("--container", required=True)
    parser.add_argument("--incarnation", default="", help="one start of it; without, any")
    given = parser.parse_args(arguments)
    depart(Layout(root=given.root, run=given.run), given.container, given.incarnation)
    return 0


def _published(inet: Listing, container: str, incarnation: str) -> frozenset[Placed]:
    mark = owner_comment(container, incarnation)
    return frozenset(
        one
        for one in all_of(inet, MAPS)
        if (one.element.comment == mark if incarnation else owner_of(one.element.comment) == container)
    )


if __name__ == "__main__":
    sys.exit(main())
