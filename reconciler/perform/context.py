"""What one pass knows while it acts: the engine, both sides of the comparison, whom to tell of progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.addresses import Pool
from reconciler.apply import Stop, never
from reconciler.desired import Desired, Observed
from reconciler.engine import Engine
from runtime.images.progress import Progress
from runtime.images.registry.settings import RegistrySettings
from runtime.network.records import NetworkWanted
from schemas.envelope import Declared
from schemas.names import Key, Kind
from schemas.network import NetworkSpec


@dataclass(frozen=True, slots=True)
class Context:
    engine: Engine
    set: str
    declared: Mapping[Key, Declared]
    """Everything declared, by this set and by others, and what that implies."""
    desired: Mapping[Key, Desired]
    observed: Mapping[Key, Observed]
    pools: Mapping[str, tuple[Pool, ...]]
    contents: Mapping[Key, bytes]
    environments: Mapping[Key, Mapping[str, str]]
    registries: RegistrySettings
    progress: Callable[[Progress], None]
    now: float
    stop: Stop = never
    """Whether somebody wants the apply to end soon: what waits for long asks it."""
    patient: bool = True
    """Whether to wait for what others are to become. The loop comes back instead."""

    def network(self, name: str) -> NetworkWanted:
        from reconciler.wanted.networks import network_wanted

        spec = self.declared[Key(Kind.NETWORK, name)].spec
        assert isinstance(spec, NetworkSpec)
        return network_wanted(name, spec, self.pools.get(name, ()))
