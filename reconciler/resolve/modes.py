"""A network of the driver `host` or `none` is a name for a mode: here the container gets the mode instead. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.container import ContainerSpec
from schemas.envelope import Declared
from schemas.errors import Invalid
from schemas.names import Key, Kind
from schemas.network import NetworkSpec

MODES = ("host", "none")


def effective_spec(item: Declared, spec: ContainerSpec, known: Mapping[Key, Declared]) -> ContainerSpec:
    """The same spec with such a network in the place of `network_mode`. Raises Invalid when others stand beside it."""
    drivers = {name: _driver(name, known) for name in spec.networks}
    mode = next((driver for driver in drivers.values() if driver in MODES), None)
    if mode is None:
        return spec
    if len(drivers) > 1:
        name = next(name for name, driver in drivers.items() if driver == mode)
        message = f"the network {name} is the driver {mode}, which stands in place of all networks"
        raise Invalid([item.problem(("spec", "networks"), message, "leave out it, or the others")])
    if spec.ports:
        message = f"cannot be published: the only network is of the driver {mode}"
        raise Invalid([item.problem(("spec", "ports"), message, "leave them out")])
    return spec.model_copy(update={"network_mode": mode, "networks": {}})


def _driver(name: str, known: Mapping[Key, Declared]) -> str:
    found = known.get(Key(Kind.NETWORK, name))
    return found.spec.driver if found is not None and isinstance(found.spec, NetworkSpec) else "bridge"
