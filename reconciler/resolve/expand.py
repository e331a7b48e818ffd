"""Objects that manifests imply: a Service's replicas, images named by reference, the network `default`. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import Any

from reconciler.resolve.modes import effective_spec
from schemas.container import ContainerSpec, ContainerTemplate
from schemas.envelope import Declared, Metadata, Origin
from schemas.errors import Invalid, Refused
from schemas.field_path import Path
from schemas.image import ImageSpec
from schemas.names import Key, Kind
from schemas.network import NetworkSpec
from schemas.reference import Reference
from schemas.service import ServiceSpec

DEFAULT_NETWORK = Key(Kind.NETWORK, "default")
"""The network of every container that names none, as in Compose."""

BY_HAND = Origin("", 0)
"""Of images that no manifest declares."""

NO_SURGES: Mapping[Key, int] = {}

POLICIES = ("always", "missing", "never")
"""Of several wishes for one reference, the first of these counts."""


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
    mounted_images: Mapping[str, Key] = field(default_factory=dict)
    """Images whose trees it mounts, by target."""


def instances(
    declared: Mapping[Key, Declared], known: Mapping[Key, Declared], surges: Mapping[Key, int] = NO_SURGES
) -> list[Instance]:
    """Every container wanted. Raises Refused when a replica would take a declared container's name."""
    made = [_instance(item, known) for item in declared.values() if item.key.kind is Kind.CONTAINER]
    for item in declared.values():
        if item.key.kind is Kind.SERVICE:
            made += _replicas(item, known, surges.get(item.key, 0))
    return made


def _replicas(service: Declared, known: Mapping[Key, Declared], surge: int) -> Iterable[Instance]:
    spec = service.spec
    assert isinstance(spec, ServiceSpec)
    replica = container_spec(service, known)
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
        image, mounted = _images(service, replica, known)
        yield Instance(key, replica, service, image, service.key, shared, mounted)
    beside = (Key(Kind.CONTAINER, f"{name}-{number}") for number in count(spec.deploy.replicas + 1))
    for key in islice((key for key in beside if key not in known), surge):
        image, mounted = _images(service, replica, known)
        yield Instance(key, replica, service, image, service.key, shared, mounted)


def _instance(item: Declared, known: Mapping[Key, Declared]) -> Instance:
    spec = container_spec(item, known)
    image, mounted = _images(item, spec, known)
    return Instance(item.key, spec, item, image, mounted_images=mounted)


def container_spec(item: Declared, known: Mapping[Key, Declared]) -> ContainerSpec:
    """What a container is made of: its manifest's spec, or what its Service makes of each replica."""
    spec = item.spec.replica() if isinstance(item.spec, ServiceSpec) else item.spec
    assert isinstance(spec, ContainerSpec)
    return effective_spec(item, spec, known)


def _images(item: Declared, spec: ContainerTemplate, known: Mapping[Key, Declared]) -> tuple[Key, Mapping[str, Key]]:
    """The container's image, and those it mounts by target. Raises Invalid for a name that is no reference either."""

    def key(path: Path, image: str) -> Key:
        try:
            return image_key(image, spec, known)
        except ValueError as error:
            raise Invalid(
                [item.problem(path, f"there is no Image {image}, and {error}", "declare the Image")]
            ) from error

    mounted = {
        mount.target: key(("spec", "volumes", index, "source"), mount.source)
        for index, mount in enumerate(spec.volumes)
        if mount.type == "image" and mount.source is not None
    }
    return key(("spec", "image"), spec.image), mounted


def image_key(image: str, spec: ContainerTemplate, known: Mapping[Key, Declared]) -> Key:
    """The Image of that name, the one that is built under that reference or was brought by hand, or an implicit one for
    a reference. Raises ValueError for what is neither."""
    named = Key(Kind.IMAGE, image)
    if named in known:
        return named
    implicit = Key(Kind.IMAGE, implicit_name(image, spec.platform))
    if spec.platform is not None or spec.pull_policy == "always":
        return implicit
    images = (item for key, item in known.items() if key.kind is Kind.IMAGE)
    return next((item.key for item in images if _is_called(item, image)), implicit)


def _is_called(item: Declared, image: str) -> bool:
    if not isinstance(item.spec, ImageSpec):
        return False
    if item.spec.build is not None:
        return bool(item.spec.build.tags) and str(Reference.parse(image)) in item.spec.build.tags
    return item.origin == BY_HAND and Reference.parse(item.spec.ref or "") == Reference.parse(image)


def recorded_image(spec: Mapping[str, Any], needs: Collection[Key]) -> str:
    """The name of the image that a container of these recorded fields was made from."""
    named: str = spec["image"]
    if Key(Kind.IMAGE, named) in needs:
        return named
    implicit = implicit_name(named, spec.get("platform"))
    images = [key.name for key in needs if key.kind is Kind.IMAGE]
    mounted = {mount.get("source") for mount in spec.get("volumes", ()) if mount.get("type") == "image"}
    # known by another name: built under that reference, or brought by hand
    return images[0] if len(images) == 1 and not mounted and implicit not in images else implicit


def implicit_name(reference: str, platform: str | None = None) -> str:
    """`docker.io/library/nginx:1.27` -> `docker.io-library-nginx-1.27-0a1b2c3d`: an object name, the same each time.

    The end tells apart what the readable part does not: `a/b` from `a-b`, one platform from another.
    """
    canonical = str(Reference.parse(reference))
    digest = hashlib.sha256(f"{canonical}\0{platform or ''}".encode()).hexdigest()[:8]
    text = re.sub(r"[^a-z0-9_.-]+", "-", canonical.lower().partition("@")[0])
    return f"{text[-54:].strip('-._')}-{digest}"


def implied(instances: Iterable[Instance], known: Mapping[Key, Declared]) -> dict[Key, Declared]:
    """Images named by reference and the default network, where used and not declared."""
    made: dict[Key, Declared] = {}
    for instance in instances:
        author = instance.declared
        for key, spec, path in _image_specs(instance):
            if key not in known:
                earlier = made.get(key)
                joint = _joint(earlier, spec)
                made[key] = replace(earlier, spec=joint) if earlier else _implicit(key, joint, author, path)
        if uses_default_network(instance.spec) and DEFAULT_NETWORK not in known:
            made.setdefault(DEFAULT_NETWORK, _implicit(DEFAULT_NETWORK, NetworkSpec(), author))
    if DEFAULT_NETWORK not in known:
        # a Service is on its networks whether it has replicas or not
        for service in (item for item in known.values() if item.key.kind is Kind.SERVICE):
            if uses_default_network(container_spec(service, known)):
                made.setdefault(DEFAULT_NETWORK, _implicit(DEFAULT_NETWORK, NetworkSpec(), service))
    return made


def is_implied(key: Key, manifest: Mapping[str, Any]) -> bool:
    """Whether an object of the inventory is what `implied` makes: nobody wrote it, or nobody could tell."""
    spec = manifest["spec"]
    if key == DEFAULT_NETWORK:
        return not spec and set(manifest["metadata"]) <= {"name"}
    return key.kind is Kind.IMAGE and "ref" in spec and key.name == implicit_name(spec["ref"], spec.get("platform"))


def _image_specs(instance: Instance) -> Iterator[tuple[Key, ImageSpec, Path]]:
    """Each image of the container, as if it were declared, and the field that names it."""
    spec = instance.spec
    yield instance.image, _image_spec(spec.image, spec), ("spec", "image")
    for index, mount in enumerate(spec.volumes):
        if mount.target in instance.mounted_images and mount.type == "image":
            path = ("spec", "volumes", index, "source")
            yield instance.mounted_images[mount.target], _image_spec(mount.source or "", spec), path


def _image_spec(reference: str, spec: ContainerTemplate) -> ImageSpec:
    given = {"ref": reference, "pull_policy": spec.pull_policy, "platform": spec.platform}
    return ImageSpec.model_validate({name: value for name, value in given.items() if value is not None})


def _joint(earlier: Declared | None, spec: ImageSpec) -> ImageSpec:
    """Whoever wants the newest gets it, whatever the order of the manifests."""
    if earlier is None:
        return spec
    assert isinstance(earlier.spec, ImageSpec)
    return min(earlier.spec, spec, key=lambda each: POLICIES.index(each.pull_policy or "missing"))


def uses_default_network(spec: ContainerTemplate) -> bool:
    """Whether it names no network, and so is in `default`, as with Compose."""
    return not spec.networks and spec.network_mode in (None, "bridge")


def _implicit(key: Key, spec: ImageSpec | NetworkSpec, author: Declared, path: Path = ()) -> Declared:
    """At the place where its author named it."""
    place = author.place(path)
    origin = replace(author.origin, line=place.line)
    return Declared(key, Metadata(key.name), spec, origin, spot=(place.line - 1, place.column - 1, None))


def attached_networks(spec: ContainerTemplate) -> list[str]:
    """Names of the networks, the one of highest priority first (Compose `priority`)."""
    if uses_default_network(spec):
        return [DEFAULT_NETWORK.name]
    return sorted(spec.networks, key=lambda name: (-spec.networks[name].priority, name))
