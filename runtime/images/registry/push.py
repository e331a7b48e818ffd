"""Push an image, or an index of several, that the store holds; and copy from one registry to another.

Called by the command line and the reconciler, from any thread that runs no event loop. Nothing is unpacked. The
manifest goes last, so that a broken push leaves nothing under the tag.

Source: distribution-spec 1.1, "Pushing"; referrers and deletion are not here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from runtime.images.blobs import BlobStore
from runtime.images.oci import MAX_MANIFEST, Descriptor, Index, Manifest, read_manifest
from runtime.images.progress import Progress, Report, Step
from runtime.images.registry.client import Client
from runtime.images.registry.endpoints import registry_endpoint
from runtime.images.registry.failures import Errand
from runtime.images.registry.manifests import Search
from runtime.images.registry.pull import Listeners, all_of, clients_of, ensure_blobs
from runtime.images.registry.retry import persist
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.transport import Transport, connected
from runtime.images.registry.upload import Upload
from schemas.errors import Refused, TrimtabError
from schemas.reference import Reference

ACTIONS = "pull,push"


@dataclass(frozen=True, slots=True)
class PushWanted:
    """`digest` of a manifest or an index in the store, to be called `reference`. `elsewhere`: by a blob's digest the
    repositories, of the same registry, that are known to have it."""

    reference: Reference
    digest: str
    elsewhere: Mapping[str, Sequence[str]] = field(default_factory=dict)


def push(store: BlobStore, wanted: PushWanted, *, settings: RegistrySettings, progress: Report) -> str:
    """Send what is missing there, then the manifest; its digest. `progress` is called in this thread.

    Raises Refused, RetryLater; RuntimeError in a thread that runs an event loop.
    """

    async def work(transport: Transport) -> str:
        return await _push(store, wanted, transport, progress)

    return asyncio.run(_within(settings, work, wanted.reference))


def copy(
    store: BlobStore, source: Reference, target: Reference, *, settings: RegistrySettings, progress: Report
) -> str:
    """Bring what `source` names, every platform of it, and push it as `target`; the digest of both.

    What was brought stays in the store as long as its keeper says. Raises Refused, RetryLater.
    """

    async def work(transport: Transport) -> str:
        search = Search(store, clients_of(source, transport), settings, Errand(str(source), "pull manifest"))
        fetched = await search.document(source.pin)
        for manifest in await _manifests(search, fetched.digest):
            await ensure_blobs(manifest, search, Listeners(progress))
        known = {blob.digest: (source.path,) for blob in _blobs(store, fetched.digest)}
        elsewhere = known if source.domain == target.domain else {}
        return await _push(store, PushWanted(target, fetched.digest, elsewhere), transport, progress)

    return asyncio.run(_within(settings, work, target))


async def _within(settings: RegistrySettings, work: Callable[[Transport], Awaitable[str]], reference: Reference) -> str:
    try:
        async with connected(settings) as transport:
            return await work(transport)
    except TrimtabError as error:
        error.object = error.object or str(reference)
        raise


async def _manifests(search: Search, digest: str) -> list[Manifest]:
    """Every image of an index, each brought; or the one image."""
    document = read_manifest(search.store.read(digest, MAX_MANIFEST))
    if isinstance(document, Manifest):
        return [document]
    found = []
    for entry in document.manifests:
        await search.document(entry.digest)
        found += await _manifests(search, entry.digest)
    return found


async def _push(store: BlobStore, wanted: PushWanted, transport: Transport, progress: Report) -> str:
    reference, settings = wanted.reference, transport.settings
    endpoint = registry_endpoint(reference.domain, settings)
    client = Client(endpoint, reference.path, transport, ACTIONS)
    await _push_blobs(store, wanted, client, settings, progress)
    errand = Errand(str(reference), "push manifest")
    documents = _documents(store, wanted.digest)
    for digest, document in documents:
        name = (reference.tag or digest) if digest == wanted.digest else digest
        await _put_manifest(client, name, document, store.read(digest, MAX_MANIFEST), errand, settings)
    return wanted.digest


async def _push_blobs(
    store: BlobStore, wanted: PushWanted, client: Client, settings: RegistrySettings, progress: Report
) -> None:
    """Some at once; the largest first, since they decide when all is done."""
    image, slots = str(wanted.reference), asyncio.Semaphore(settings.parallel_layers)
    blobs = _blobs(store, wanted.digest)
    with ThreadPoolExecutor(settings.parallel_layers, "trimtab-upload") as readers:

        async def ensure(blob: Descriptor) -> None:
            def report(done: int) -> None:
                progress(Progress(image, Step.PUSH, blob.digest, done, blob.size))

            errand = Errand(image, f"push layer {blob.digest[:19]}")
            async with slots:
                await Upload(store, blob, errand, settings, readers, report).ensure(
                    client, wanted.elsewhere.get(blob.digest, ())
                )

        # the first alone: it brings the token that the others use
        for first in blobs[-1:]:
            await ensure(first)
        await all_of(*map(ensure, blobs[:-1]))


def _blobs(store: BlobStore, digest: str) -> list[Descriptor]:
    """Configs and layers that the manifest or index needs, each once, the largest first."""
    manifests = [document for _, document in _documents(store, digest) if isinstance(document, Manifest)]
    found = {blob.digest: blob for manifest in manifests for blob in (manifest.config, *manifest.layers)}
    return sorted(found.values(), key=lambda blob: -blob.size)


def _documents(store: BlobStore, digest: str) -> list[tuple[str, Manifest | Index]]:
    """The manifest, or the index after everything it names."""
    try:
        document = read_manifest(store.read(digest, MAX_MANIFEST))
    except FileNotFoundError as error:
        raise Refused(
            f"{digest} is not on this machine", step="push", hint="pull it first, for every platform"
        ) from error
    entries = document.manifests if isinstance(document, Index) else ()
    below = [each for entry in entries for each in _documents(store, entry.digest)]
    return [*below, (digest, document)]


async def _put_manifest(
    client: Client, name: str, document: Manifest | Index, content: bytes, errand: Errand, settings: RegistrySettings
) -> None:
    headers = {"Content-Type": document.media_type}

    async def attempt() -> None:
        async with await client.ask("PUT", f"manifests/{name}", errand, headers, (200, 201, 202), content):
            pass

    await persist(attempt, settings)
