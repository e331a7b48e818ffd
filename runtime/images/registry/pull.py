"""Pull an image, or ask what a reference means today.

Called by the image store, from any thread that runs no event loop: both functions run their own and return when all is
done. Unpacks nothing and records no image; blobs that are whole stay in the store when a pull fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from runtime.images.blobs import BlobStore
from runtime.images.config import MAX_CONFIG
from runtime.images.oci import Descriptor, Manifest
from runtime.images.platforms import Platform
from runtime.images.progress import Progress, Report, Step
from runtime.images.registry.client import Client
from runtime.images.registry.download import Download
from runtime.images.registry.endpoints import endpoints
from runtime.images.registry.failures import Errand
from runtime.images.registry.manifests import Search, first_of, manifest_digest
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.threads import in_thread
from runtime.images.registry.transport import Transport, connected
from schemas.errors import Refused, TrimtabError
from schemas.reference import Reference

_LISTENERS = 32
"""Layers that are being heard of at once: one whose files are being flushed must not keep the next from beginning."""

OnManifest = Callable[[Manifest], None]
OnLayer = Callable[[Descriptor], None]


@dataclass(frozen=True, slots=True)
class Pulled:
    """An image whose every blob is in the store."""

    digest: str
    """Of `manifest`, the one for the platform."""
    manifest: bytes
    media_type: str
    resolved: str
    """What the reference named: an index's digest, or `digest` itself. `resolve` gives the same."""
    content: Manifest
    """`manifest`, read."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told what while a pull goes on."""

    progress: Report
    on_manifest: OnManifest | None = None
    on_layer: OnLayer | None = None


def pull(
    store: BlobStore,
    reference: Reference,
    *,
    settings: RegistrySettings,
    platform: Platform,
    progress: Report,
    on_manifest: OnManifest | None = None,
    on_layer: OnLayer | None = None,
) -> Pulled:
    """Bring the image that `reference` names for `platform` into `store`.

    `progress` is called in this thread. `on_manifest` is called once, when the manifest and its config are in the store
    and no layer has been asked for; `on_layer` after it, for each different layer once that layer is in the store,
    several at once. Both are called in worker threads and may take their time; what they raise ends the pull.
    Raises Refused, RetryLater; RuntimeError in a thread that runs an event loop.
    """
    told = Listeners(progress, on_manifest, on_layer)
    return asyncio.run(_pull(store, reference, settings, platform, told))


def resolve(reference: Reference, settings: RegistrySettings) -> str:
    """The digest that `reference` names today (of an index, where it is one). Raises Refused, RetryLater."""
    return asyncio.run(_resolve(reference, settings))


async def _resolve(reference: Reference, settings: RegistrySettings) -> str:
    errand = Errand(str(reference), "resolve")
    async with connected(settings) as transport:
        clients = clients_of(reference, transport)
        digest, _ = await first_of(clients, lambda client: manifest_digest(client, reference.pin, errand, settings))
    return digest


async def _pull(
    store: BlobStore, reference: Reference, settings: RegistrySettings, platform: Platform, told: Listeners
) -> Pulled:
    image = str(reference)
    told.progress(Progress(image, Step.RESOLVE))
    try:
        async with connected(settings) as transport:
            search = Search(store, clients_of(reference, transport), settings, Errand(image, "pull manifest"))
            found = await search.manifest(reference.pin, platform)
            await ensure_blobs(found.manifest, search, told)
    except TrimtabError as error:
        error.object = error.object or image
        raise
    return Pulled(
        found.fetched.digest, found.fetched.content, found.manifest.media_type, found.resolved, found.manifest
    )


def clients_of(reference: Reference, transport: Transport) -> tuple[Client, ...]:
    """One for each place to ask, mirrors first."""
    found = endpoints(reference.domain, transport.settings)
    return tuple(Client(endpoint, reference.path, transport) for endpoint in found)


async def ensure_blobs(manifest: Manifest, search: Search, told: Listeners) -> None:
    """The config, then the layers, some at once; the largest first, since they decide when all is done."""
    require_small(manifest.config, search.errand)
    parallel = search.settings.parallel_layers
    slots = asyncio.Semaphore(parallel)
    layers = {layer.digest: layer for layer in manifest.layers}.values()
    with (
        ThreadPoolExecutor(parallel, "trimtab-blob") as writers,
        ThreadPoolExecutor(min(len(layers), _LISTENERS) or 1, "trimtab-layer") as listeners,
    ):

        async def ensure_layer(layer: Descriptor) -> None:
            async with slots:
                await ensure_blob(layer, "layer", search, told, writers)
            if told.on_layer is not None:
                await in_thread(listeners, told.on_layer, layer)

        await ensure_blob(manifest.config, "config", search, told, writers)
        if told.on_manifest is not None:
            await in_thread(listeners, told.on_manifest, manifest)
        await all_of(*map(ensure_layer, sorted(layers, key=lambda layer: -layer.size)))


async def ensure_blob(blob: Descriptor, kind: str, search: Search, told: Listeners, pool: Executor) -> None:
    """One blob. Raises Refused, RetryLater."""

    def report(done: int) -> None:
        told.progress(Progress(search.errand.image, Step.PULL, blob.digest, done, blob.size))

    errand = search.errand.to(f"pull {kind} {blob.digest[:19]}")
    await Download(search.store, blob, errand, search.settings, pool, report).ensure(search.clients)


def require_small(config: Descriptor, errand: Errand) -> None:
    """Raises Refused: a config is held in memory."""
    if config.size > MAX_CONFIG:
        raise Refused(f"the config is larger than {MAX_CONFIG} bytes", object=errand.image, step=errand.step)


async def all_of(*works: Coroutine[None, None, None]) -> None:
    """Do all at once. Raises the first failure, a Refused if there is one, after ending the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as failures:
        worst = next((one for one in failures.exceptions if isinstance(one, Refused)), failures.exceptions[0])
        raise worst from worst.__cause__
