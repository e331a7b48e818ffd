"""The images that a build begins with: found on this machine, by name or reference, or pulled.

Called before a build is planned, for its triggers and configs are part of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.build.graph import missing_images
from runtime.images.blobs import BlobStore
from runtime.images.config import ImageConfig
from runtime.images.ensure import ensure_image
from runtime.images.found import Found, read_found
from runtime.images.leases import Lease
from runtime.images.progress import Report
from runtime.images.record import ImageRecord
from runtime.images.store import damage, find_image, read_image
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.dockerfile.evaluate import Inputs
from schemas.dockerfile.parse import Dockerfile
from schemas.errors import Refused
from schemas.reference import Reference


@dataclass(frozen=True, slots=True)
class Base:
    """An image to begin with, all of it leased."""

    record: ImageRecord
    found: Found

    @property
    def layers(self) -> tuple[str, ...]:
        """diffIDs, lowest first."""
        return self.found.document.diff_ids

    @property
    def blobs(self) -> tuple[str, ...]:
        return tuple(blob.digest for blob in self.found.manifest.layers)


@dataclass(frozen=True, slots=True)
class Bringing:
    """Where bases are found, and how they are brought."""

    layout: Layout
    lease: Lease
    pull: bool
    progress: Report
    offline: bool = False
    """Only what is on this machine counts."""

    def all_of(self, dockerfile: Dockerfile, inputs: Inputs, contexts: Mapping[str, object]) -> dict[str, Base]:
        """Every image that the target needs, by its reference in full. Raises Invalid, Refused, RetryLater."""
        bases: dict[str, Base] = {}
        while missing := missing_images(dockerfile, inputs, configs_of(bases), tuple(contexts)):
            for reference in missing:
                bases[reference] = self.bring(reference)
        return bases

    def bring(self, reference: str) -> Base:
        """One image. Raises Refused, RetryLater."""
        record = self._local(reference)
        if record is None and self.offline:
            raise Refused("is not on this machine", object=reference, step="find image")
        if record is None or (self.pull and not self.offline and not _is_own(record, reference)):
            from reconciler.registries import read_registries
            from reconciler.resolve.expand import implicit_name

            policy = "always" if self.pull else "missing"
            wanted = ImageWanted(implicit_name(reference), ref=reference, pull_policy=policy)
            record = ensure_image(self.layout, wanted, read_registries(self.layout), self.progress)
        store = BlobStore(self.layout, self.lease)
        for digest in (record.digest, record.config_digest, *record.layers, *(blob.digest for blob in record.blobs)):
            self.lease.add(digest)
        try:
            return Base(record, read_found(store, record.digest))
        except FileNotFoundError as error:
            raise Refused(f"the image {record.name} is damaged", object=reference, step="find image") from error

    def _local(self, reference: str) -> ImageRecord | None:
        parsed = Reference.parse(reference)
        name = own_name(reference)
        record = read_image(self.layout, name) if name else None
        if record is not None and damage(self.layout, record) is None:
            return record
        from runtime.images.platforms import machine_platform

        return find_image(self.layout, parsed, machine_platform())


def own_name(reference: str) -> str | None:
    """`docker.io/library/web:latest` may be the image that a manifest calls `web`."""
    prefix, suffix = "docker.io/library/", ":latest"
    if not (reference.startswith(prefix) and reference.endswith(suffix)):
        return None
    return reference.removeprefix(prefix).removesuffix(suffix)


def own_reference(name: str) -> str:
    """How a Dockerfile means the image that a manifest calls so."""
    return f"docker.io/library/{name}:latest"


def _is_own(record: ImageRecord, reference: str) -> bool:
    return record.name == own_name(reference)


def configs_of(bases: Mapping[str, Base]) -> dict[str, ImageConfig]:
    """What the images say of themselves, by reference."""
    return {reference: base.found.document.config for reference, base in bases.items()}
