"""An image from a registry into the store, its layers unpacked while others are still on their way.

Called by `ensure_image`, which decides whether to ask the registry at all. Imports the client, and with it aiohttp,
only when it is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.images.found import Found, read_document_of, read_found, require_platform
from runtime.images.making import Making
from runtime.images.oci import Descriptor, Manifest, read_manifest
from runtime.images.trust.policy import Policy, policy_of
from schemas.reference import Reference

if TYPE_CHECKING:
    from runtime.images.registry.settings import RegistrySettings


def pull_image(making: Making, reference: Reference, settings: RegistrySettings | None) -> Found:
    """Pull `reference` for the platform wanted. Raises Refused, RetryLater."""
    from runtime.images.registry.pull import pull
    from runtime.images.registry.settings import RegistrySettings

    store, wanted, asked = making.store, making.wanted, reference
    policy = policy_of(wanted.policy, reference, settings)
    if policy is not None:
        reference = _trusted(policy, making, reference, settings or RegistrySettings())
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
    return read_found(store, pulled.digest, resolved=pulled.resolved, tags=(str(asked),))


def _trusted(policy: Policy, making: Making, reference: Reference, settings: RegistrySettings) -> Reference:
    """With the digest that was vouched for, so that nothing else is pulled. Raises Refused, RetryLater."""
    import asyncio

    from runtime.images.trust.verify import require_trusted

    digest, resolved = asyncio.run(_find(making, reference, settings))
    require_trusted(policy, reference, (resolved, digest), settings)
    return replace(reference, digest=resolved)


async def _find(making: Making, reference: Reference, settings: RegistrySettings) -> tuple[str, str]:
    """Digests of the image for the platform, and of what the reference names. Only manifests are fetched."""
    from runtime.images.registry.failures import Errand
    from runtime.images.registry.manifests import Search
    from runtime.images.registry.pull import clients_of
    from runtime.images.registry.transport import connected

    async with connected(settings) as transport:
        search = Search(making.store, clients_of(reference, transport), settings, Errand(str(reference), "verify"))
        found = await search.manifest(reference.pin, making.wanted.for_platform)
        return found.fetched.digest, found.resolved


def resolve_image(reference: Reference, settings: RegistrySettings | None) -> str:
    """The digest that the registry gives the reference today. Raises Refused, RetryLater."""
    from runtime.images.registry.pull import resolve
    from runtime.images.registry.settings import RegistrySettings

    return resolve(reference, settings or RegistrySettings())


def read_subject(reference: Reference, settings: RegistrySettings) -> Descriptor:
    """What the reference names, as something that refers to it describes it. Raises Refused, RetryLater."""
    import asyncio

    from runtime.images.registry.asking import asked
    from runtime.images.registry.failures import Errand
    from runtime.images.registry.manifests import fetch_manifest

    errand = Errand(str(reference), "look")
    fetched = asyncio.run(
        asked(reference, settings, lambda client: fetch_manifest(client, reference.pin, errand, settings))
    )
    media_type = read_manifest(fetched.content, fetched.media_type).media_type
    return Descriptor(media_type, fetched.digest, len(fetched.content))
