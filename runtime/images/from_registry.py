"""An image from a registry into the store, its layers unpacked while others are still on their way.

Called by `ensure_image`, which decides whether to ask the registry at all. Imports the client, and with it aiohttp,
only when it is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.images.blobs import BlobStore, Keeper
from runtime.images.found import Found, read_document_of, read_found, require_platform
from runtime.images.limits import Limits
from runtime.images.oci import Descriptor, Manifest
from runtime.images.progress import Progress, Report, Step
from runtime.images.unpack import LayerWanted, ensure_layer
from runtime.images.wanted import ImageWanted
from runtime.layout import Layout
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings


def pull_image(
    layout: Layout,
    store: BlobStore,
    keeper: Keeper,
    wanted: ImageWanted,
    reference: Reference,
    settings: RegistrySettings | None,
    progress: Report,
    limits: Limits,
) -> Found:
    """Pull `reference` for the platform wanted. Raises Refused, RetryLater."""
    from runtime.images.registry.pull import pull
    from runtime.images.registry.settings import RegistrySettings

    def named(step: Progress) -> None:
        progress(replace(step, image=wanted.name))

    diff_ids: dict[str, str] = {}

    def learn(manifest: Manifest) -> None:
        document = read_document_of(store, manifest)
        require_platform(document, wanted.for_platform)
        diff_ids.update(zip((layer.digest for layer in manifest.layers), document.diff_ids, strict=True))

    def unpack(blob: Descriptor) -> None:
        layer = LayerWanted(store.path(blob.digest), diff_ids[blob.digest], blob.digest)
        ensure_layer(layout, layer, limits, keeper, lambda name, done, total: named(unpacking(name, done, total)))

    pulled = pull(
        store,
        reference,
        settings=settings or RegistrySettings(),
        platform=wanted.for_platform,
        progress=named,
        on_manifest=learn,
        on_layer=unpack,
    )
    return read_found(store, pulled.digest, resolved=pulled.resolved, tags=(str(reference),))


def resolve_image(reference: Reference, settings: RegistrySettings | None) -> str:
    """The digest that the registry gives the reference today. Raises Refused, RetryLater."""
    from runtime.images.registry.pull import resolve
    from runtime.images.registry.settings import RegistrySettings

    return resolve(reference, settings or RegistrySettings())


def unpacking(name: str, done: int, total: int) -> Progress:
    return Progress("", Step.UNPACK, name, done, total)
