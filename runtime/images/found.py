"""An image whose blobs are all in the store, read and checked; not yet unpacked.

Made by whatever brings images (registry, archive, root file system); taken by `ensure_image` and by saving.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from runtime.images.blobs import BlobStore
from runtime.images.config import MAX_CONFIG, ImageConfig, ImageDocument, read_image_document
from runtime.images.oci import MAX_MANIFEST, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest, read_manifest
from runtime.images.platforms import Platform, acceptable
from runtime.images.tarstream import compression_of
from schemas.errors import Refused

NOTHING: Mapping[str, dict[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Found:
    """`digest` is the manifest's; `resolved` of what the reference named, perhaps an index; `tags` it is known by."""

    digest: str
    manifest: Manifest
    document: ImageDocument
    resolved: str = ""
    tags: tuple[str, ...] = ()


def read_found(store: BlobStore, digest: str, resolved: str = "", tags: tuple[str, ...] = ()) -> Found:
    """The image whose manifest has that digest. Raises Refused, FileNotFoundError (a blob is not there)."""
    manifest = read_manifest(store.read(digest, MAX_MANIFEST))
    if not isinstance(manifest, Manifest):
        raise Refused("is an index, not an image", object=digest, step="read")
    return Found(digest, manifest, read_document_of(store, manifest), resolved or digest, tags)


def read_document_of(store: BlobStore, manifest: Manifest) -> ImageDocument:
    """The manifest's config, which must tell of as many layers. Raises Refused, FileNotFoundError."""
    document = read_image_document(store.read(manifest.config.digest, MAX_CONFIG))
    if len(document.diff_ids) != len(manifest.layers):
        raise Refused(
            f"the config tells of {len(document.diff_ids)} layers, the manifest of {len(manifest.layers)}",
            object=manifest.config.digest,
            step="read",
        )
    return document


def add_image(store: BlobStore, document: ImageDocument, blobs: tuple[str, ...], tags: tuple[str, ...] = ()) -> Found:
    """Keep the config and the manifest of an image of our own; `blobs` are its layers, lowest first.

    Equal input gives an equal digest.
    """
    content = document.content()
    return add_manifest(store, store.add(content), blobs, tags)


def add_manifest(
    store: BlobStore,
    config: str,
    blobs: tuple[str, ...],
    tags: tuple[str, ...] = (),
    told: Mapping[str, dict[str, str]] = NOTHING,
) -> Found:
    """Keep a manifest for a config and layers that are in the store already; `told`: annotations by layers' digests."""
    layers = tuple(replace(layer_descriptor(store, blob), annotations=told.get(blob, {})) for blob in blobs)
    manifest = Manifest(OCI_MANIFEST, Descriptor(OCI_CONFIG, config, store.size(config) or 0), layers)
    return read_found(store, store.add(manifest.content()), tags=tags)


def layer_descriptor(store: BlobStore, blob: str) -> Descriptor:
    """Of a layer in the store, its media type told by its first bytes."""
    with store.open(blob) as content:
        kind = compression_of(content.read(512))
    return Descriptor(f"{OCI_LAYER}+{kind}" if kind else OCI_LAYER, blob, store.size(blob) or 0)


def one_layer(config: ImageConfig, platform: Platform, diff_id: str) -> ImageDocument:
    """The config blob of an image that is one layer."""
    return ImageDocument(config, platform, (diff_id,))


def require_platform(document: ImageDocument, wanted: Platform) -> None:
    """Raises Refused when the image's processes would not run. An image that names no architecture is believed."""
    here = document.platform.canonical()
    if here.architecture and here not in acceptable(wanted):
        raise Refused(
            f"the image is for {here}, not for {wanted}",
            step="check platform",
            hint=f"take an image for {wanted}, or set `platform: {here}` if this machine can run it",
        )
