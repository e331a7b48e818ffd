"""What is asked of a build, and what it tells while it runs: values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtime.images.trust.policy import Policy
from schemas.build_cache import CachePlace
from schemas.dockerfile.evaluate import Inputs
from schemas.errors import Place


@dataclass(frozen=True, slots=True)
class BuildWanted:
    """`name`: of the image. `contexts` by name, the empty one is the build's own: directories, tars, URLs, repositories
    or `image:NAME`. `dockerfile` is relative to the context, `text` what stands in its place."""

    name: str
    contexts: Mapping[str, str]
    dockerfile: str = "Dockerfile"
    text: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    without_cache: tuple[str, ...] = ()
    """Stages whose steps are done anew; `*` is all."""
    cache_from: tuple[CachePlace, ...] = ()
    cache_to: tuple[CachePlace, ...] = ()
    policy: Policy | None = None
    """Who must have vouched for the images it begins with, if nothing else is said of one."""
    policies: Mapping[str, Policy] = field(default_factory=dict)
    """The same, of images by reference: what their own manifests say."""
    declared: frozenset[str] = frozenset()
    """Images that manifests speak of, by reference: not to be looked for in a registry."""
    pull: bool = False
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    agents: Mapping[str, Path] = field(default_factory=dict)
    """Sockets of ssh agents, by id."""
    network: str = ""
    """What a RUN without --network of its own gets; empty: default."""
    extra_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shm_size: int | None = None
    allow_insecure: bool = False
    """Whether `RUN --security=insecure` may."""
    sbom: bool = False
    provenance: bool = True
    """What is kept beside the image."""

    @property
    def epoch(self) -> int | None:
        """SOURCE_DATE_EPOCH, in seconds; None where it is not given. Raises ValueError."""
        text = self.arguments.get("SOURCE_DATE_EPOCH")
        return int(text) if text else None

    def inputs(self) -> Inputs:
        """What the Dockerfile sees of it."""
        from runtime.images.platforms import machine_platform
        from schemas.dockerfile.platform import Platform

        here = Platform.parse(str(machine_platform()))
        return Inputs(self.arguments, self.target, here, here)


@dataclass(frozen=True, slots=True)
class Told:
    """One step forward: `what` is begun, cached, done, failed or output; `text` a title or a line of output.

    A `note` is of no step: what somebody might want to know of the whole build.
    """

    what: str
    number: int
    text: str = ""
    seconds: float = 0.0
    place: Place | None = None
    stream: str = ""


Tell = Callable[[Told], None]
"""Called from any thread; must be quick and must not raise."""


def silent(told: Told) -> None:
    """A `Tell` for callers that show nothing."""
