"""One image in the making, whatever it comes from: who keeps it from the collector, whom it tells, and its last step.

Made by `ensure_image` and by loading. Once every blob is in the store, `record_of` unpacks and mends the stack of
layers and says what the record is to hold; it writes no record.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.images.blobs import BlobStore
from runtime.images.found import Found, require_platform
from runtime.images.layers import LayerRecord
from runtime.images.leases import Lease
from runtime.images.limits import Limits
from runtime.images.mend import add_mending_layer
from runtime.images.progress import Progress, Report, Step
from runtime.images.record import ImageRecord
from runtime.images.unpack import LayerReport, LayerWanted, ensure_layers
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout


@dataclass(frozen=True, slots=True)
class Making:
    """`wanted`, on this engine, within these limits, told to `progress` (from any thread)."""

    layout: Layout
    lease: Lease
    wanted: ImageWanted
    progress: Report
    limits: Limits

    @property
    def store(self) -> BlobStore:
        """The blobs, each kept from the collector once it was asked for."""
        return BlobStore(self.layout, self.lease)

    def stepped(self, step: Step) -> LayerReport:
        """Tells of bytes done, as `step` of this image."""
        name, progress = self.wanted.name, self.progress
        return lambda subject, done, total: progress(Progress(name, step, subject, done, total or None))

    def ensure_layers(self, layers: Sequence[LayerWanted]) -> tuple[LayerRecord, ...]:
        """Unpacked, in their order. Raises Refused, RetryLater."""
        return ensure_layers(self.layout, layers, self.limits, self.lease, self.stepped(Step.UNPACK))

    def layer(self, blob: str, diff_id: str | None) -> LayerWanted:
        """The layer of a blob in the store."""
        return LayerWanted(self.store.path(blob), diff_id, blob)


def record_of(making: Making, found: Found, fingerprint: str) -> ImageRecord:
    """What to record of the image, once its layers are unpacked. Raises Refused, RetryLater."""
    wanted, manifest, document = making.wanted, found.manifest, found.document
    require_platform(document, wanted.for_platform)
    blobs = zip(manifest.layers, document.diff_ids, strict=True)
    layers = making.ensure_layers([making.layer(blob.digest, diff_id) for blob, diff_id in blobs])
    mended = add_mending_layer(making.layout, making.store, layers)
    if mended:
        making.ensure_layers([making.layer(mended, mended)])
    return ImageRecord(
        name=wanted.name,
        origin=wanted.origin,
        reference=wanted.source,
        digest=found.digest,
        media_type=manifest.media_type,
        config_digest=manifest.config.digest,
        config=document.config,
        platform=document.platform,
        layers=document.diff_ids,
        blobs=manifest.layers,
        size=sum({layer.diff_id: layer.bytes for layer in layers}.values()),
        resolved=found.resolved,
        tags=found.tags,
        fingerprint=fingerprint,
        wanted=wanted.digest(),
        mended=mended,
        made_at=time.time(),
    )
