"""Make an image real: the one call of this room that the reconciler needs to create.

Decides whether what is on disk is still what is wanted; if not, has the blobs brought (from a registry, an archive, a
root file system), the layers unpacked, and writes the record last. Called again it finds nothing to do. What a kill
leaves half-done is taken up by the next call. Removes nothing that is not its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.images.blobs import BlobStore
from runtime.images.config import MAX_CONFIG, ImageConfig, ImageDocument, read_image_document
from runtime.images.digests import digest_of
from runtime.images.documents import canonical_json
from runtime.images.limits import Limits
from runtime.images.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest
from runtime.images.platforms import Platform, machine_platform
from runtime.images.progress import Progress, Report, Step, ignore
from runtime.images.record import ImageRecord, Origin
from runtime.images.rootfs import add_rootfs, source_fingerprint
from runtime.images.store import damage, read_image, write_image
from runtime.images.unpack import LayerWanted, ensure_layers
from runtime.layout import Layout
from schemas.errors import Refused, TrimtabError

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings

VERSION = 1
"""Counts changes of how an image is made from the same wish."""


@dataclass(frozen=True, slots=True)
class ImageWanted:
    """An image as a manifest asks for it: exactly one of `ref`, `archive`, `rootfs`."""

    name: str
    ref: str | None = None
    archive: Path | None = None
    rootfs: Path | None = None
    config: ImageConfig = field(default_factory=ImageConfig)
    """Only with `rootfs`."""
    pull_policy: str = "missing"
    """Compose's `always`, `missing`, `never`."""
    platform: Platform | None = None
    """None: this machine's."""

    @property
    def origin(self) -> Origin:
        """Raises Refused unless exactly one source is named."""
        named = [
            origin
            for origin, source in (
                (Origin.REF, self.ref),
                (Origin.ARCHIVE, self.archive),
                (Origin.ROOTFS, self.rootfs),
            )
            if source is not None
        ]
        if len(named) != 1:
            raise Refused("name one of ref, archive, rootfs", object=f"Image/{self.name}", step="read")
        return named[0]

    @property
    def source(self) -> str:
        """The reference or the path, as text."""
        return str(self.ref or self.archive or self.rootfs)

    def digest(self) -> str:
        """Of everything that decides what the image holds: a change of it means: make the image again."""
        wish = {
            "version": VERSION,
            "origin": self.origin.value,
            "source": self.source,
            "config": self.config.fields() if self.origin is Origin.ROOTFS else {},
            "platform": asdict((self.platform or machine_platform()).canonical()),
        }
        return digest_of(canonical_json(wish))


@dataclass(frozen=True, slots=True)
class Found:
    """An image whose blobs are all in the store."""

    digest: str
    manifest: Manifest
    document: ImageDocument
    resolved: str = ""


def ensure_image(
    layout: Layout,
    wanted: ImageWanted,
    settings: RegistrySettings | None = None,
    progress: Report = ignore,
    limits: Limits | None = None,
) -> ImageRecord:
    """The image `wanted`, whole on disk. Raises Refused, RetryLater; a record that was there stays as it was then.

    Idempotent. `progress` may be called from several threads.
    """
    try:
        have = read_image(layout, wanted.name)
        fingerprint = read_fingerprint(wanted)
        if have is not None and is_converged(layout, have, wanted, fingerprint):
            return have
        store = BlobStore(layout)
        found = _bring(layout, store, wanted, progress)
        record = _unpacked(layout, store, wanted, found, progress, limits or Limits(), fingerprint)
        write_image(layout, record)
        progress(Progress(wanted.name, Step.DONE, record.digest, record.size, record.size))
        return record
    except TrimtabError as error:
        error.object = f"Image/{wanted.name}" + (f" {error.object}" if error.object else "")
        raise


def read_fingerprint(wanted: ImageWanted) -> str:
    """Of the path that the image is made from; "" for a registry's. Costs one lstat(2) per file. Raises Refused."""
    path = wanted.rootfs or wanted.archive
    return source_fingerprint(path) if path is not None else ""


def is_converged(layout: Layout, have: ImageRecord, wanted: ImageWanted, fingerprint: str) -> bool:
    """Whether the record answers the wish, its source is unchanged, and nothing of it was damaged."""
    same = have.wanted == wanted.digest() and have.fingerprint == fingerprint
    return same and damage(layout, have) is None and wanted.pull_policy != "always"


def _bring(layout: Layout, store: BlobStore, wanted: ImageWanted, progress: Report) -> Found:
    """Every blob of the image into the store."""
    if wanted.origin is not Origin.ROOTFS:
        raise Refused(f"images from {wanted.origin.value} come later", step="read")
    assert wanted.rootfs is not None
    report = _stepped(progress, wanted, Step.READ)
    blob = add_rootfs(layout, store, wanted.rootfs, lambda done: report(str(wanted.rootfs), done, 0))
    return _image_of_layer(store, wanted, blob)


def _image_of_layer(store: BlobStore, wanted: ImageWanted, blob: str) -> Found:
    """A manifest for one layer whose diffID the unpacking will tell."""
    size = store.size(blob) or 0
    layer = Descriptor(OCI_LAYER, blob, size)
    platform = (wanted.platform or machine_platform()).canonical()
    document = ImageDocument(wanted.config, platform, ())
    return Found("", Manifest(OCI_MANIFEST, Descriptor(OCI_CONFIG, "", 0), (layer,)), document)


def _unpacked(
    layout: Layout,
    store: BlobStore,
    wanted: ImageWanted,
    found: Found,
    progress: Report,
    limits: Limits,
    fingerprint: str,
) -> ImageRecord:
    diff_ids = found.document.diff_ids or (None,) * len(found.manifest.layers)
    layers = [
        LayerWanted(store.path(blob.digest), diff_id, blob.digest)
        for blob, diff_id in zip(found.manifest.layers, diff_ids, strict=True)
    ]
    records = ensure_layers(layout, layers, limits, _stepped(progress, wanted, Step.UNPACK))
    if not found.digest:
        found = _completed(store, found, tuple(record.diff_id for record in records))
    return ImageRecord(
        name=wanted.name,
        origin=wanted.origin,
        reference=wanted.source,
        digest=found.digest,
        media_type=found.manifest.media_type,
        config_digest=found.manifest.config.digest,
        config=found.document.config,
        platform=found.document.platform,
        layers=tuple(record.diff_id for record in records),
        blobs=found.manifest.layers,
        size=sum(record.bytes for record in records),
        resolved=found.resolved or found.digest,
        fingerprint=fingerprint,
        wanted=wanted.digest(),
        made_at=time.time(),
    )


def _completed(store: BlobStore, found: Found, diff_ids: tuple[str, ...]) -> Found:
    """An image of our own gets its config and manifest once the diffIDs are known; equal input, equal digest."""
    document = ImageDocument(found.document.config, found.document.platform, diff_ids)
    content = document.content()
    config = Descriptor(OCI_CONFIG, store.add(content), len(content))
    manifest = Manifest(OCI_MANIFEST, config, found.manifest.layers)
    return Found(store.add(manifest.content()), manifest, read_image_document(store.read(config.digest, MAX_CONFIG)))


def _stepped(progress: Report, wanted: ImageWanted, step: Step) -> Callable[[str, int, int], None]:
    return lambda subject, done, total: progress(Progress(wanted.name, step, subject, done, total or None))
