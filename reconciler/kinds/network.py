"""Rules for a network: its bridge, its addresses, its part of the firewall, and names answered at its gateway. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.actions import Effect
from reconciler.addresses import Pool
from reconciler.desired import Desired
from reconciler.kinds.fields import metadata_fields, spec_fields
from reconciler.kinds.rules import Rules
from schemas.envelope import Declared
from schemas.names import Kind
from schemas.network import NetworkSpec

WIRED = ("macvlan", "ipvlan")
"""Drivers that put containers on the wire of a link of the host, where they do not meet the host itself."""

RULES = Rules(
    Kind.NETWORK,
    effects={"link": Effect.LIVE, "firewall": Effect.LIVE, "dns": Effect.LIVE},
)


def desire(item: Declared, pools: Sequence[Pool]) -> Desired:
    """A Network with the pools that were allotted to it."""
    spec = item.spec
    assert isinstance(spec, NetworkSpec)
    return Desired(
        item.key,
        fields={"metadata": metadata_fields(item.metadata), "spec": spec_fields(spec)},
        facts=facts(spec, pools),
        declared=item,
    )


def facts(spec: NetworkSpec, pools: Sequence[Pool]) -> dict[str, Any]:
    """What kernel and DNS must show. macvlan and ipvlan have no link of their own on the host."""
    if spec.driver in WIRED:
        return {"dns": "answering"}
    if spec.driver != "bridge":
        return {}
    link: dict[str, Any] = {
        "state": "up",
        "addresses": sorted(f"{pool.gateway}/{pool.subnet.prefixlen}" for pool in pools),
    }
    if spec.driver_opts.mtu is not None:
        link["mtu"] = spec.driver_opts.mtu
    return {
        "link": link,
        "firewall": {
            "rules": "complete",
            "internal": spec.internal,
            "icc": spec.driver_opts.enable_icc,
            "isolated": spec.driver_opts.isolation,
            "masquerade": spec.driver_opts.enable_ip_masquerade and not spec.internal,
            "subnets": sorted(str(pool.subnet) for pool in pools),
        },
        "dns": "answering",
    }
