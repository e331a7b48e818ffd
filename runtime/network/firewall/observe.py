"""The firewall as the kernel holds it, owner by owner. Called by the reconciler; changes nothing."""

from __future__ import annotations

from runtime.layout import Layout
from runtime.network.border import border
from runtime.network.firewall.networks import read_network_rules
from runtime.network.firewall.publications import read_publications
from runtime.network.firewall.services import read_balances
from runtime.network.firewall.table import is_whole, read_tables
from runtime.network.records import ObservedFirewall


@border("firewall")
def read_firewall(layout: Layout) -> ObservedFirewall:
    """What both tables hold now; all of it missing when they are gone.

    An owner's part is there only when it is complete: compare `networks[name]` with `rules_of`, look for each
    Publication in `publications`, compare `services[name]` with the ServiceBalance wanted. Raises Refused, RetryLater.
    """
    inet, bridge = read_tables(layout)
    return ObservedFirewall(
        whole=is_whole(layout, inet, bridge),
        networks=read_network_rules(inet, bridge),
        publications=read_publications(inet),
        services=read_balances(inet),
    )
