"""An image as a manifest asks for it. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from runtime.images.config import ImageConfig
from runtime.images.digests import digest_of
from runtime.images.documents import canonical_json
from runtime.images.platforms import Platform, machine_platform
from runtime.images.record import Origin
from runtime.images.trust.policy import Policy
from schemas.errors import Refused
from schemas.reference import Reference

VERSION = 1
"""Counts changes of how an image is made from the same wish."""


@dataclass(frozen=True, slots=True)
class ImageWanted:
    """Exactly one of `ref`, `archive`, `rootfs`, `container`, `build`."""

    name: str
    ref: str | None = None
    archive: Path | None = None
    rootfs: Path | None = None
    container: str | None = None
    """Its changes, committed."""
    build: str | None = None
    """The context of a build, as it was named."""
    config: ImageConfig = field(default_factory=ImageConfig)
    """Only with `rootfs` and `container`."""
    pull_policy: str = "missing"
    """Compose's `always`, `missing` (or `if_not_present`), `never`."""
    platform: Platform | None = None
    """None: this machine's."""
    policy: Policy | None = None
    """With `ref`: who must have vouched for it."""

    @property
    def origin(self) -> Origin:
        """Raises Refused unless exactly one source is named."""
        sources = {
            Origin.REF: self.ref,
            Origin.ARCHIVE: self.archive,
            Origin.ROOTFS: self.rootfs,
            Origin.CONTAINER: self.container,
            Origin.BUILD: self.build,
        }
        named = [origin for origin, source in sources.items() if source is not None]
        if len(named) != 1:
            raise Refused("name one of ref, archive, rootfs, container, build", step="read")
        return named[0]

    @property
    def path(self) -> Path | None:
        """The file or directory that the image is made from; None for a registry's."""
        return self.rootfs or self.archive

    @property
    def source(self) -> str:
        """The reference in full, the path, the container's name, or the build's context. Raises Refused."""
        if self.container is not None or self.build is not None:
            return self.container or self.build or ""
        return str(self.path) if self.path is not None else str(self.reference())

    @property
    def for_platform(self) -> Platform:
        return (self.platform or machine_platform()).canonical()

    def reference(self) -> Reference:
        """`ref`, read. Raises Refused."""
        try:
            return Reference.parse(self.ref or "")
        except ValueError as error:
            raise Refused(str(error), step="read reference") from error

    def digest(self) -> str:
        """Of everything that decides what the image holds: when it changes, the image is made again."""
        wish: dict[str, object] = {
            "version": VERSION,
            "origin": self.origin.value,
            "source": self.source,
            "config": self.config.fields() if self.origin in (Origin.ROOTFS, Origin.CONTAINER) else {},
            "platform": asdict(self.for_platform),
        }
        if self.policy is not None:
            wish["policy"] = self.policy.digest()
        return digest_of(canonical_json(wish))
