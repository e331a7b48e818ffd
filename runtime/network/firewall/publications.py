"""Published ports: one element of one map each, in the container's own family.

Called by the reconciler when a container starts and whenever its `ports` change. The element's comment is the
container's name and incarnation, by which `depart.py` finds it. No process stands in the data path.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from runtime.kernel import nftables
from runtime.layout import Layout
from runtime.network.border import border
from runtime.network.firewall.elements import (
    NUMBERS,
    PROTOCOLS,
    Placed,
    address_of,
    all_of,
    commands,
    creations,
    placed,
    versioned,
)
from runtime.network.firewall.listing import Listing
from runtime.network.firewall.table import ensure_whole, firewall_lock, read_tables
from runtime.network.records import Publication

MAPS = ("ports4", "ports6", "hosts4", "hosts6")


@border("firewall")
def publish(layout: Layout, publications: Iterable[Publication]) -> None:
    """Make these ports reachable at the host, beside what is published already, in one transaction.

    A host port that another container has is taken over: the planner has seen to conflicts. Raises Refused, RetryLater.
    """
    want = [_element(one) for one in publications]
    if not want:
        return
    with firewall_lock(layout):
        try:
            nftables.run("\n".join(creations(layout, want)))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOENT):
                raise
            _replace(layout, want)


@border("firewall")
def unpublish(layout: Layout, container: str, keep: Iterable[Publication] = ()) -> None:
    """Withdraw what is published for a container, but for `keep`; nothing is as good. Raises Refused, RetryLater."""
    kept = {_element(one) for one in keep}
    with firewall_lock(layout):
        inet, _ = read_tables(layout)
        have = {one for one in all_of(inet, MAPS) if owner_of(one.element.comment) == container}
        changes = commands(layout, have - kept, ())
        if changes:
            nftables.run("\n".join(changes))


def read_publications(inet: Listing) -> frozenset[Publication]:
    """Every port published now. Elements that are none of ours are left out."""
    return frozenset(_publication(one) for one in all_of(inet, MAPS) if _is_ours(one))


def owner_comment(container: str, incarnation: str) -> str:
    """What marks an element as a container's."""
    return f"{container} {incarnation}".rstrip()


def owner_of(comment: str) -> str:
    """The container that a mark names."""
    return comment.partition(" ")[0]


def _replace(layout: Layout, want: list[Placed]) -> None:
    inet, bridge = read_tables(layout)
    ensure_whole(layout, inet, bridge)
    keys = {(one.name, one.element.key) for one in want}
    have = [one for one in all_of(inet, MAPS) if (one.name, one.element.key) in keys]
    changes = commands(layout, have, want)
    if changes:
        nftables.run("\n".join(changes))


def _element(one: Publication) -> Placed:
    key = (NUMBERS[one.protocol], one.host_port)
    comment = owner_comment(one.container, one.incarnation)
    value = (str(one.address), str(one.container_port))
    if one.host_address is None:
        return placed(versioned("ports", one.address), *key, comment=comment, value=value)
    return placed(versioned("hosts", one.address), one.host_address, *key, comment=comment, value=value)


def _is_ours(one: Placed) -> bool:
    return bool(one.element.comment) and one.element.key[-2] in PROTOCOLS


def _publication(one: Placed) -> Publication:
    *host, protocol, port = one.element.key
    container, _, incarnation = one.element.comment.partition(" ")
    address, container_port = one.element.value
    return Publication(
        container=container,
        protocol=PROTOCOLS[protocol],
        host_port=int(port),
        address=address_of(address),
        container_port=int(container_port),
        host_address=address_of(host[0]) if host else None,
        incarnation=incarnation,
    )
