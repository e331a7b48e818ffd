"""Make an image real: the one call of this room that the reconciler needs to create.

Decides whether what is on disk is still what is wanted; if not, has the blobs brought (from a registry, an archive, a
root file system), the layers unpacked, and writes the record last. Called again it finds nothing to do. What a kill
leaves half-done is taken up by the next call. A damaged image is healed to what it was, not to what its tag names
today.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runtime.images.archive import bring_archive
from runtime.images.blobs import BlobStore
from runtime.images.found import Found, add_image, one_layer, read_found, require_platform
from runtime.images.from_registry import pull_image, resolve_image
from runtime.images.leases import Lease
from runtime.images.limits import Limits
from runtime.images.mend import add_mending_layer
from runtime.images.progress import Progress, Report, Step, ignore
from runtime.images.record import ImageRecord, Origin
from runtime.images.rootfs import add_rootfs, source_fingerprint
from runtime.images.store import damage, find_image, missing_blob, read_image, write_image
from runtime.images.unpack import LayerReport, LayerWanted, ensure_layers
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.errors import Refused, TrimtabError

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings

__all__ = ["ImageWanted", "ensure_image", "is_converged", "read_fingerprint", "unpack_image"]


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
        with Lease(layout) as lease:
            maker = _Maker(layout, lease, BlobStore(layout, lease), wanted, settings, progress, limits or Limits())
            return maker.ensure()
    except TrimtabError as error:
        error.object = f"Image/{wanted.name}" + (f" {error.object}" if error.object else "")
        raise


def read_fingerprint(wanted: ImageWanted) -> str:
    """Of the path that the image is made from; "" for a registry's. Costs one lstat(2) per file. Raises Refused."""
    return source_fingerprint(wanted.path) if wanted.path is not None else ""


def is_converged(layout: Layout, have: ImageRecord, wanted: ImageWanted, fingerprint: str) -> bool:
    """Whether the record answers the wish, its source is unchanged, and nothing of it was damaged."""
    return _is_same_wish(have, wanted, fingerprint) and damage(layout, have) is None


def _is_same_wish(have: ImageRecord, wanted: ImageWanted, fingerprint: str) -> bool:
    return have.wanted == wanted.digest() and have.fingerprint == fingerprint


@dataclass(frozen=True, slots=True)
class _Maker:
    """One call of `ensure_image`: its arguments, and the steps."""

    layout: Layout
    lease: Lease
    store: BlobStore
    wanted: ImageWanted
    settings: RegistrySettings | None
    progress: Report
    limits: Limits

    def ensure(self) -> ImageRecord:
        fingerprint = read_fingerprint(self.wanted)
        have = read_image(self.layout, self.wanted.name)
        if have is not None and (not _is_same_wish(have, self.wanted, fingerprint) or self._is_superseded(have)):
            have = None
        if have is not None and damage(self.layout, have) is None:
            return have
        found = self._found(have)
        record = unpack_image(self.layout, self.lease, self.wanted, found, fingerprint, self.progress, self.limits)
        write_image(self.layout, record)
        self.progress(Progress(self.wanted.name, Step.DONE, record.digest, record.size, record.size))
        return record

    def _is_superseded(self, have: ImageRecord) -> bool:
        """With `always`: whether the registry's tag names something else now."""
        if self.wanted.origin is not Origin.REF or self.wanted.pull_policy != "always":
            return False
        return resolve_image(self.wanted.reference(), self.settings) != have.resolved

    def _found(self, damaged: ImageRecord | None) -> Found:
        """The image's blobs, all in the store; those of an image that only lost layers need not be brought."""
        if damaged is not None and missing_blob(self.store, damaged) is None:
            return read_found(self.store, damaged.digest, damaged.resolved, damaged.tags)
        match self.wanted.origin:
            case Origin.REF:
                return self._from_registry(damaged)
            case Origin.ARCHIVE:
                assert self.wanted.archive is not None
                report = self._stepped(Step.READ)
                return bring_archive(self.store, self.wanted.archive, self.wanted.for_platform, self.limits, report)
            case Origin.ROOTFS:
                return self._from_rootfs()

    def _from_rootfs(self) -> Found:
        assert self.wanted.rootfs is not None
        path = str(self.wanted.rootfs)
        report = self._stepped(Step.READ)
        blob = add_rootfs(self.layout, self.store, self.wanted.rootfs, lambda done: report(path, done, 0))
        layer = LayerWanted(self.store.path(blob), None, blob)
        report = self._stepped(Step.UNPACK)
        (record,) = ensure_layers(self.layout, [layer], self.limits, self.lease, report)
        document = one_layer(self.wanted.config, self.wanted.for_platform, record.diff_id)
        return add_image(self.store, document, (blob,))

    def _from_registry(self, damaged: ImageRecord | None) -> Found:
        reference = self.wanted.reference()
        local = find_image(self.layout, reference, self.wanted.for_platform)
        if local is not None and self.wanted.pull_policy != "always":
            return read_found(self.store, local.digest, local.resolved, local.tags)
        if self.wanted.pull_policy == "never":
            raise Refused(
                f"{reference} is not on this machine, and `pull_policy` is never",
                step="find image",
                hint="load it with `trimtab image load`, or set `pull_policy: missing`",
            )
        if damaged is not None:
            reference = replace(reference, digest=damaged.resolved)
        return pull_image(
            self.layout, self.store, self.lease, self.wanted, reference, self.settings, self.progress, self.limits
        )

    def _stepped(self, step: Step) -> LayerReport:
        return _stepped(self.progress, self.wanted.name, step)


def unpack_image(
    layout: Layout,
    lease: Lease,
    wanted: ImageWanted,
    found: Found,
    fingerprint: str,
    progress: Report,
    limits: Limits,
) -> ImageRecord:
    """The record of an image whose blobs are in the store, once its layers are unpacked; it is not written yet.

    Raises Refused, RetryLater.
    """
    require_platform(found.document, wanted.for_platform)
    store = BlobStore(layout, lease)
    layers = [
        LayerWanted(store.path(blob.digest), diff_id, blob.digest)
        for blob, diff_id in zip(found.manifest.layers, found.document.diff_ids, strict=True)
    ]
    records = ensure_layers(layout, layers, limits, lease, _stepped(progress, wanted.name, Step.UNPACK))
    mended = add_mending_layer(layout, store, records)
    if mended:
        ensure_layers(layout, [LayerWanted(store.path(mended), mended, mended)], limits, lease)
    return ImageRecord(
        name=wanted.name,
        origin=wanted.origin,
        reference=wanted.source,
        digest=found.digest,
        media_type=found.manifest.media_type,
        config_digest=found.manifest.config.digest,
        config=found.document.config,
        platform=found.document.platform,
        layers=found.document.diff_ids,
        blobs=found.manifest.layers,
        size=sum({record.diff_id: record.bytes for record in records}.values()),
        resolved=found.resolved,
        tags=found.tags,
        fingerprint=fingerprint,
        wanted=wanted.digest(),
        mended=mended,
        made_at=time.time(),
    )


def _stepped(progress: Report, name: str, step: Step) -> LayerReport:
    return lambda subject, done, total: progress(Progress(name, step, subject, done, total or None))
