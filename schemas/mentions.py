"""Which other objects an object names, and where: what must exist before it can.

Called by `check`. Reads canonical specs of every kind and nothing else. Whether a mentioned object exists, and whether
an image's name is that of a manifest or a reference to a registry, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.field_path import Path
from schemas.image import ImageSpec
from schemas.names import Kind
from schemas.source import Held, SourceSpec

PEERS = {"container": Kind.CONTAINER, "service": Kind.SERVICE}
JOINING = ("network_mode", "pid", "ipc")
"""Fields that may say `container:NAME` or `service:NAME`."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A name at `path`, of an object of one of `kinds`. `before`: that object must start before this one."""

    path: Path
    kinds: tuple[Kind, ...]
    name: str
    required: bool = True
    before: bool = False


def mentions_of(declared: Declared) -> Iterator[Mention]:
    """Everything that the spec names, in the order of its chapters."""
    spec = declared.spec
    if isinstance(spec, ContainerTemplate):
        yield Mention(("spec", "image"), (Kind.IMAGE,), spec.image, before=True)
        yield from _storage(spec)
        yield from _peers(spec)
    elif isinstance(spec, ImageSpec):
        if spec.commit is not None:
            yield Mention(("spec", "commit", "container"), (Kind.CONTAINER,), spec.commit.container, before=True)
    elif isinstance(spec, SourceSpec):
        if spec.git is not None and spec.git.secret is not None:
            yield Mention(("spec", "git", "secret"), (Kind.SECRET,), spec.git.secret)
        for field in ("decrypt", "webhook"):
            held: Held | None = getattr(spec, field)
            if held is not None and held.secret is not None:
                yield Mention(("spec", field, "secret"), (Kind.SECRET,), held.secret)
        for index, name in enumerate(spec.depends_on):
            yield Mention(("spec", "depends_on", index), (Kind.SOURCE,), name, before=True)


def _storage(spec: ContainerTemplate) -> Iterator[Mention]:
    for index, mount in enumerate(spec.volumes):
        if mount.source is not None and mount.type == "volume":
            yield Mention(("spec", "volumes", index, "source"), (Kind.VOLUME,), mount.source)
        if mount.source is not None and mount.type == "image":
            yield Mention(("spec", "volumes", index, "source"), (Kind.IMAGE,), mount.source)
    for index, grant in enumerate(spec.secrets):
        yield Mention(("spec", "secrets", index, "source"), (Kind.SECRET,), grant.source)
    for index, grant in enumerate(spec.configs):
        yield Mention(("spec", "configs", index, "source"), (Kind.CONFIG,), grant.source)


def _peers(spec: ContainerTemplate) -> Iterator[Mention]:
    for name in spec.networks:
        yield Mention(("spec", "networks", name), (Kind.NETWORK,), name)
    for name, dependency in spec.depends_on.items():
        path = ("spec", "depends_on", name)
        yield Mention(path, (Kind.CONTAINER, Kind.SERVICE), name, required=dependency.required, before=True)
    for field in JOINING:
        peer, _, name = (getattr(spec, field) or "").partition(":")
        if name:
            yield Mention(("spec", field), (PEERS[peer],), name, before=True)
