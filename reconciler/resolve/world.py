"""What resolving needs besides the manifests, and what it yields. Pure records.

Everything that varies with the machine, the store or the clock is in `World`, read by the caller beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.addresses import Pool, Subnet
from reconciler.desired import Desired
from schemas.envelope import Declared
from schemas.names import Key

Leases = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class World:
    """`others`: what other sets declare. `routes`: subnets the host already reaches. `contents`: digest of each Secret
    and Config. `environments`: env_file and environment of each container merged. `seed`: the engine's id. `devices`:
    major and minor number of each block device that a limit names. `swap_accounting`: whether swap can be limited."""

    seed: str
    others: Mapping[Key, Declared] = field(default_factory=dict)
    leases: Leases = field(default_factory=dict)
    routes: tuple[Subnet, ...] = ()
    contents: Mapping[Key, str] = field(default_factory=dict)
    environments: Mapping[Key, Mapping[str, str]] = field(default_factory=dict)
    foreign_ids: frozenset[int] = frozenset()
    busy_ports: frozenset[tuple[str, int]] = frozenset()
    living: frozenset[str] = frozenset()
    devices: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    swap_accounting: bool = True
    bases: Mapping[Key, frozenset[Key]] = field(default_factory=dict)
    """The images of the set that an image's Dockerfile names."""
    surges: Mapping[Key, int] = field(default_factory=dict)
    """Replicas of Services beside those that are asked for, while a rollout is under way."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Everything desired, and the leases as they stand when it is made."""

    desired: Mapping[Key, Desired]
    declared: Mapping[Key, Declared]
    """This set's objects, implied ones included."""
    leases: Mapping[str, Mapping[str, str]]
    pools: Mapping[str, tuple[Pool, ...]]
