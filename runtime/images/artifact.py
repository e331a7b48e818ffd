"""What belongs to an image and is none: signatures, lists of packages, provenance. Made, pushed, and read back.

An artifact is a manifest whose layers are documents and whose `subject` is the image's. Called by the rooms that know
the documents. Imports the client, and with it aiohttp, only when it is needed.

Source: OCI image-spec 1.1, manifest.md "Guidelines for Artifact Usage".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from runtime.images.blobs import BlobStore
from runtime.images.digests import digest_of
from runtime.images.documents import canonical_json, read_document, without_empty
from runtime.images.leases import Lease
from runtime.images.oci import OCI_MANIFEST, Descriptor, read_descriptor
from runtime.images.progress import ignore
from runtime.layout import Layout
from schemas.errors import Refused
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.client import Client
    from runtime.images.registry.failures import Errand
    from runtime.images.registry.settings import RegistrySettings

EMPTY = "application/vnd.oci.empty.v1+json"
MOST_BYTES = 64 << 20
"""Of one document."""
MOST_IN_ALL = 256 << 20
"""Bytes of all documents that are read at once."""
MOST_MANIFESTS = 64
"""Artifacts of one type that are read of one image, and documents of one artifact."""


@dataclass(frozen=True, slots=True)
class Part:
    """One document."""

    media_type: str
    content: bytes
    annotations: dict[str, str] = field(default_factory=dict)

    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, digest_of(self.content), len(self.content), annotations=self.annotations)


@dataclass(frozen=True, slots=True)
class Artifact:
    """`subject`: the image's manifest; None: the artifact is found by its tag alone. `config`: what stands for one."""

    type: str
    parts: tuple[Part, ...]
    subject: Descriptor | None = None
    config: Part = field(default=Part(EMPTY, b"{}"))
    annotations: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The manifest. Equal artifacts are equal bytes."""
        made: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.config.descriptor().fields(),
            "layers": [part.descriptor().fields() for part in self.parts],
        }
        subject = self.subject.fields() if self.subject is not None else None
        return canonical_json(
            made | without_empty({"artifactType": self.type, "subject": subject, "annotations": self.annotations})
        )


def add_artifact(store: BlobStore, artifact: Artifact) -> str:
    """All of it in the store; the digest of its manifest."""
    for part in (artifact.config, *artifact.parts):
        store.add(part.content)
    return store.add(artifact.content())


def push_artifact(
    layout: Layout, target: Reference, artifact: Artifact, settings: RegistrySettings, tag: str = ""
) -> str:
    """To the repository of `target`, under `tag` or by its digest alone; the digest. Raises Refused, RetryLater."""
    from runtime.images.registry.push import PushWanted, push

    with Lease(layout) as lease:
        store = BlobStore(layout, lease)
        digest = add_artifact(store, artifact)
        reference = replace(target, tag=tag or None, digest=None if tag else digest)
        return push(store, PushWanted(reference, digest), settings=settings, progress=ignore)


def read_parts(reference: Reference, digest: str, artifact_type: str, settings: RegistrySettings) -> tuple[Part, ...]:
    """The documents of every artifact of that type that refers to the image of that digest, each verified.

    Raises Refused, RetryLater.
    """

    async def work(client: Client) -> tuple[Part, ...]:
        from runtime.images.registry.referrers import referrers_of

        errand = _errand(reference)
        listed = await referrers_of(client, digest, errand, settings, artifact_type)
        names = [one.digest for one in listed if one.artifact_type in ("", artifact_type)]
        found: list[Part] = []
        for name in names[:MOST_MANIFESTS]:
            left = MOST_IN_ALL - sum(len(part.content) for part in found)
            found += await _parts(client, name, artifact_type, left, errand, settings)
        return tuple(found)

    return _run(reference, settings, work)


def read_tagged(reference: Reference, tag: str, settings: RegistrySettings) -> tuple[Part, ...]:
    """The documents of the artifact under that tag of the reference's repository, each verified; none without it.

    Raises Refused, RetryLater.
    """

    async def work(client: Client) -> tuple[Part, ...]:
        return await _parts(client, tag, "", MOST_IN_ALL, _errand(reference), settings)

    return _run(reference, settings, work)


def _run(
    reference: Reference, settings: RegistrySettings, work: Callable[[Client], Awaitable[tuple[Part, ...]]]
) -> tuple[Part, ...]:
    import asyncio

    from runtime.images.registry.asking import asked

    return asyncio.run(asked(reference, settings, work))


def _errand(reference: Reference) -> Errand:
    from runtime.images.registry.failures import Errand

    return Errand(str(reference), "read artifacts")


async def _parts(
    client: Client, name: str, artifact_type: str, most: int, errand: Errand, settings: RegistrySettings
) -> tuple[Part, ...]:
    """None of what is not there, or of another type. Raises Refused where they have more than `most` bytes."""
    from runtime.images.registry.asking import fetch_content
    from runtime.images.registry.manifests import find_manifest

    fetched = await find_manifest(client, name, errand, settings)
    if fetched is None:
        return ()
    document = read_document(fetched.content, "artifact")
    if artifact_type and document.text("artifactType", artifact_type) != artifact_type:
        return ()
    blobs = [read_descriptor(layer) for layer in document.children("layers")[:MOST_MANIFESTS]]
    if any(blob.size > MOST_BYTES for blob in blobs) or sum(blob.size for blob in blobs) > most:
        raise Refused("the documents are too long to be read", object=errand.image, step=errand.step)
    return tuple(
        [
            Part(
                blob.media_type, await fetch_content(client, blob.digest, blob.size, errand, settings), blob.annotations
            )
            for blob in blobs
        ]
    )
