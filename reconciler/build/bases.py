"""The images that a build begins with: found on this machine, by name or reference, or pulled.

Called before a build is planned, for its triggers and configs are part of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.build.graph import missing_images
from reconciler.build.wanted import BuildWanted
from runtime.images.blobs import BlobStore
from runtime.images.config import ImageConfig
from runtime.images.ensure import ensure_image
from runtime.images.found import Found, read_found
from runtime.images.leases import Lease
from runtime.images.progress import Report
from runtime.images.record import ImageRecord, Origin
from runtime.images.store import damage, find_image, read_image
from runtime.images.trust.policy import Policy
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
    wanted: BuildWanted
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
        if record is None and reference in self.wanted.declared:
            hint = "apply its manifest first; what a registry calls so may be another image"
            raise Refused("is an Image of a manifest that is not here", object=reference, step="find image", hint=hint)
        if record is None or (self.wanted.pull and not self.offline and not _is_own(record, reference)):
            record = self._pulled(reference)
        elif not self.offline:
            self._require_trusted(record, reference)
        store = BlobStore(self.layout, self.lease)
        for digest in (record.digest, record.config_digest, *record.layers, *(blob.digest for blob in record.blobs)):
            self.lease.add(digest)
        try:
            return Base(record, read_found(store, record.digest))
        except FileNotFoundError as error:
            raise Refused(f"the image {record.name} is damaged", object=reference, step="find image") from error

    def _policy(self, reference: str) -> Policy | None:
        return self.wanted.policies.get(reference) or self.wanted.policy

    def _pulled(self, reference: str) -> ImageRecord:
        from reconciler.registries import read_registries
        from reconciler.resolve.expand import implicit_name

        when, policy = "always" if self.wanted.pull else "missing", self._policy(reference)
        wanted = ImageWanted(implicit_name(reference), ref=reference, pull_policy=when, policy=policy)
        return ensure_image(self.layout, wanted, read_registries(self.layout), self.progress)

    def _require_trusted(self, record: ImageRecord, reference: str) -> None:
        """Of what is here and came from a registry; what was made here is this machine's own. Raises Refused."""
        policy = self._policy(reference)
        if policy is None or record.origin is not Origin.REF:
            return
        from reconciler.registries import read_registries
        from runtime.images.trust.verify import require_trusted

        digests, named = (record.resolved, record.digest), Reference.parse(record.reference)
        require_trusted(policy, named, digests, read_registries(self.layout))

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
