"""A container's place in its networks: links, names, published ports; brought in line, or withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.desired import Desired, Observed
from reconciler.perform.bundles import declared_spec
from reconciler.perform.context import Context
from reconciler.perform.hooks import incarnation, mark_reachable
from reconciler.perform.placing import about
from reconciler.wanted.networks import endpoint_wanted, is_own_bridge, publications
from runtime.layout import Layout
from runtime.network.dns.inside import ensure_inside, remove_inside
from runtime.network.dns.records import ensure_records, remove_records
from runtime.network.endpoint import ensure_endpoint, remove_endpoint
from runtime.network.firewall.publications import publish, unpublish
from runtime.network.observe import read_endpoints
from runtime.process.records import ProcessRecord


def plug(context: Context, want: Desired, process: ProcessRecord) -> None:
    """Every wanted endpoint, with the settings of its link that the manifest names."""
    sysctls = declared_spec(context, want).sysctls
    for network, facts in want.facts["endpoints"].items():
        wanted = endpoint_wanted(context.network(network), want.key.name, facts, sysctls)
        with about("spec", "networks", network):
            ensure_endpoint(context.engine.layout, wanted, process.pid, process.start_time)


def unplug_stray(context: Context, want: Desired, process: ProcessRecord) -> None:
    """Links into bridges of ours that the manifest does not name, or not under this name."""
    wanted = {facts["interface"]: network for network, facts in want.facts["endpoints"].items()}
    layout = context.engine.layout
    for endpoint in read_endpoints(process.pid, process.start_time):
        network = wanted.get(endpoint.interface)
        if is_own_bridge(layout, endpoint.attached_to) and (
            network is None or endpoint.attached_to != layout.link("b", network)
        ):
            remove_endpoint(endpoint.interface, process.pid, process.start_time)


def unplug(process: ProcessRecord, want: Desired, have: Observed | None) -> None:
    """What was asked for and is not any more, or under another name."""
    for network, facts in (have.asked.get("endpoints", {}) if have is not None else {}).items():
        wanted = want.facts["endpoints"].get(network)
        if wanted is None or wanted["interface"] != facts["interface"]:
            remove_endpoint(facts["interface"], process.pid, process.start_time)


def name(context: Context, want: Desired, have: Observed | None, process: ProcessRecord) -> None:
    """Its DNS records in each of its networks; those of networks that it left go. Where it cannot reach the host, it is
    answered within its own network namespace."""
    layout, owner = context.engine.layout, want.key.name
    for network in have.asked.get("names", {}) if have is not None else ():
        if network not in want.facts["names"]:
            remove_records(layout, network, owner)
    resolvers = declared_spec(context, want).dns
    for network, facts in want.facts["names"].items():
        ensure_records(layout, network, owner, _own_first(owner, facts), facts["addresses"], resolvers)
    if "resolver" in want.facts:
        ensure_inside(layout, owner, process.pid, process.start_time, resolvers)
    else:
        remove_inside(layout, owner)


def _own_first(owner: str, facts: Mapping[str, Any]) -> list[str]:
    """Reverse look-ups answer with the first name."""
    return [owner, *(other for other in facts["names"] if other != owner)]


def expose(context: Context, want: Desired, have: Observed | None) -> None:
    """Exactly the wanted ports, for this incarnation. What never asked for one has none to withdraw."""
    layout, owner = context.engine.layout, want.key.name
    mark_reachable(layout, want)
    if not want.facts["published"] and (have is None or not have.asked.get("published")):
        return
    wanted = list(publications(owner, want.facts["published"], incarnation(layout, owner)))
    unpublish(layout, owner, keep=wanted)
    if wanted:
        with about("spec", "ports"):
            publish(layout, wanted)


def withdraw(layout: Layout, owner: str, have: Observed | None) -> None:
    """Names and ports of a container that has no process any more. None is no error."""
    for network in have.asked.get("names", {}) if have is not None else ():
        remove_records(layout, network, owner)
    remove_inside(layout, owner)
    if have is None or have.asked.get("published"):
        unpublish(layout, owner)
