"""An image from a registry into the store, its layers unpacked while others are still on their way.

Called by `ensure_image`, which decides whether to ask the registry at all. Imports the client, and with it aiohttp,
only when it is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.images.found import Found, read_document_of, read_found, require_platform
from runtime.images.making import Making
from runtime.images.oci import Descriptor, Manifest
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings


def pull_image(making: Making, reference: Reference, settings: RegistrySettings | None) -> Found:
    """Pull `reference` for the platform wanted. Raises Refused, RetryLater."""
    from runtime.images.registry.pull import pull
    from runtime.images.registry.settings import RegistrySettings

    store, wanted = making.store, making.wanted
    diff_ids: dict[str, str] = {}

    def learn(manifest: Manifest) -> None:
        document = read_document_of(store, manifest)
        require_platform(document, wanted.for_platform)
        diff_ids.update(zip((layer.digest for layer in manifest.layers), document.diff_ids, strict=True))

    def unpack(blob: Descriptor) -> None:
        making.ensure_layers([making.layer(blob.digest, diff_ids[blob.digest])])

    pulled = pull(
        store,
        reference,
        settings=settings or RegistrySettings(),
        platform=wanted.for_platform,
        progress=lambda step: making.progress(replace(step, image=wanted.name)),
        on_manifest=learn,
        on_layer=unpack,
    )
    return read_found(store, pulled.digest, resolved=pulled.resolved, tags=(str(reference),))


def resolve_image(reference: Reference, settings: RegistrySettings | None) -> str:
    """The digest that the registry gives the reference today. Raises Refused, RetryLater."""
    from runtime.images.registry.pull import resolve
    from runtime.images.registry.settings import RegistrySettings

    return resolve(reference, settings or RegistrySettings())
