"""Objects that manifests imply: a Service's replicas, the image a container names, the network `default`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.container import ContainerSpec, ContainerTemplate
from schemas.envelope import Declared, Metadata, Origin
from schemas.errors import Refused
from schemas.image import ImageSpec
from schemas.names import Key, Kind
from schemas.network import NetworkSpec
from schemas.service import ServiceSpec

DEFAULT_NETWORK = Key(Kind.NETWORK, "default")
"""The network of every container that names none, as in Compose."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A container to be: declared itself, or one replica of a Service."""

    key: Key
    spec: ContainerSpec
    declared: Declared
    image: Key
    owner: Key | None = None
    shared_names: tuple[str, ...] = ()
    """Names it shares with the other replicas of its Service."""


def instances(declared: Mapping[Key, Declared], known: Mapping[Key, Declared]) -> list[Instance]:
    """Every container wanted. Raises Refused when a replica would take a declared container's name."""
    made = [_instance(item, known) for item in declared.values() if item.key.kind is Kind.CONTAINER]
    for item in declared.values():
        if item.key.kind is Kind.SERVICE:
            made += _replicas(item, known)
    return made


def _replicas(service: Declared, known: Mapping[Key, Declared]) -> Iterable[Instance]:
    spec = service.spec
    assert isinstance(spec, ServiceSpec)
    replica = spec.replica()
    name = service.key.name
    shared = (f"tasks.{name}",) if spec.deploy.endpoint_mode == "vip" else (f"tasks.{name}", name)
    for number in range(1, spec.deploy.replicas + 1):
        key = Key(Kind.CONTAINER, f"{name}-{number}")
        if key in known:
            raise Refused(
                f"the replica {key.name} of {service.key} has the name of a declared container",
                object=str(service.key),
                hint="rename one of them",
            )
        yield Instance(key, replica, service, image_key(spec.image, known), service.key, shared)


def _instance(item: Declared, known: Mapping[Key, Declared]) -> Instance:
    spec = item.spec
    assert isinstance(spec, ContainerSpec)
    return Instance(item.key, spec, item, image_key(spec.image, known))


def image_key(image: str, known: Mapping[Key, Declared]) -> Key:
    """The Image manifest of that name, or an implicit one for a registry reference."""
    named = Key(Kind.IMAGE, image)
    return named if named in known else Key(Kind.IMAGE, implicit_name(image))


def implicit_name(reference: str) -> str:
    """`docker.io/library/nginx:1.27` -> `docker.io-library-nginx-1.27`: an object name, the same each time."""
    text = re.sub(r"[^a-z0-9_.-]+", "-", reference.lower().replace("@sha256:", "-"))
    return text.strip("-._")[-63:].strip("-._")


def implied(instances: Iterable[Instance], known: Mapping[Key, Declared]) -> dict[Key, Declared]:
    """Images named by reference and the default network, where used and not declared."""
    made: dict[Key, Declared] = {}
    for instance in instances:
        origin = instance.declared.origin
        if instance.image not in known:
            made[instance.image] = _implicit(instance.image, _image_of(instance.spec), origin)
        if uses_default_network(instance.spec) and DEFAULT_NETWORK not in known:
            made[DEFAULT_NETWORK] = _implicit(DEFAULT_NETWORK, NetworkSpec(), origin)
    return made


def _image_of(spec: ContainerSpec) -> ImageSpec:
    given = {"ref": spec.image, "pull_policy": spec.pull_policy, "platform": spec.platform}
    return ImageSpec.model_validate({name: value for name, value in given.items() if value is not None})


def uses_default_network(spec: ContainerTemplate) -> bool:
    return not spec.networks and spec.network_mode in (None, "bridge")


def _implicit(key: Key, spec: ImageSpec | NetworkSpec, origin: Origin) -> Declared:
    return Declared(key, Metadata(key.name), spec, origin)


def attached_networks(spec: ContainerTemplate) -> list[str]:
    """Names of the networks, the one of highest priority first (Compose `priority`)."""
    if uses_default_network(spec):
        return [DEFAULT_NETWORK.name]
    return sorted(spec.networks, key=lambda name: (-spec.networks[name].priority, name))
