"""Push an image, or an index of several, that the store holds; and copy from one registry to another.

Called by the command line and the reconciler, from any thread that runs no event loop. Nothing is unpacked. The
manifest goes last, so that a broken push leaves nothing under the tag.

Source: distribution-spec 1.1, "Pushing"; deletion is not here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from runtime.images.blobs import BlobStore
from runtime.images.digests import digest_of
from runtime.images.documents import canonical_json, read_document, without_empty
from runtime.images.hosted.described import Described, Need, describe
from runtime.images.oci import MAX_MANIFEST, OCI_INDEX, Descriptor
from runtime.images.progress import Progress, Report, Step
from runtime.images.registry.client import Client
from runtime.images.registry.endpoints import registry_endpoint
from runtime.images.registry.failures import Errand
from runtime.images.registry.manifests import Search
from runtime.images.registry.pull import Listeners, all_of, clients_of, ensure_blob
from runtime.images.registry.referrers import referrers_tag, tagged_list
from runtime.images.registry.retry import persist
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.transport import Transport, connected
from runtime.images.registry.upload import Upload
from schemas.errors import Refused, TrimtabError
from schemas.reference import Reference

ACTIONS = "pull,push"
_DEPTH = 3
"""An index may name indexes; no honest image goes deeper."""


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
        await bring_all(search, fetched.digest, progress)
        return await push_from(store, source, target, fetched.digest, transport, progress)

    return asyncio.run(_within(settings, work, target))


async def push_from(
    store: BlobStore, source: Reference, target: Reference, digest: str, transport: Transport, progress: Report
) -> str:
    """Push what was brought from `source`: what the same registry has there is mounted. Raises Refused, RetryLater."""
    known = {blob.digest: (source.path,) for blob in _blobs(store, digest)}
    elsewhere = known if source.domain == target.domain else {}
    return await _push(store, PushWanted(target, digest, elsewhere), transport, progress)


async def _within(settings: RegistrySettings, work: Callable[[Transport], Awaitable[str]], reference: Reference) -> str:
    try:
        async with connected(settings) as transport:
            return await work(transport)
    except TrimtabError as error:
        error.object = error.object or str(reference)
        raise


async def bring_all(search: Search, digest: str, progress: Report) -> None:
    """Manifests and blobs that the manifest or index `digest` of the store needs. Raises Refused, RetryLater."""
    for level in range(_DEPTH):
        indexes = [document for _, document in _documents(search.store, digest, level)]
        for need in [need for document in indexes for need in document.needs if need.is_manifest]:
            await search.document(need.digest)
    slots = asyncio.Semaphore(search.settings.parallel_layers)
    told = Listeners(progress)
    with ThreadPoolExecutor(search.settings.parallel_layers, "trimtab-blob") as writers:

        async def ensure(need: Need) -> None:
            async with slots:
                await ensure_blob(Descriptor("", need.digest, need.size), "blob", search, told, writers)

        needs = {need.digest: need for _, document in _documents(search.store, digest) for need in _own(document)}
        await all_of(*map(ensure, sorted(needs.values(), key=lambda need: -need.size)))


async def _push(store: BlobStore, wanted: PushWanted, transport: Transport, progress: Report) -> str:
    reference, settings = wanted.reference, transport.settings
    endpoint = registry_endpoint(reference.domain, settings)
    client = Client(endpoint, reference.path, transport, ACTIONS)
    await _push_blobs(store, wanted, client, settings, progress)
    errand = Errand(str(reference), "push manifest")
    documents = _documents(store, wanted.digest)
    for digest, document in documents:
        name = (reference.tag or digest) if digest == wanted.digest else digest
        content = store.read(digest, MAX_MANIFEST)
        await put_manifest(client, name, document.media_type, content, errand, settings)
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
    """What the manifest or index needs of blobs, each once, the largest first; foreign layers where they are here."""
    documents = [document for _, document in _documents(store, digest)]
    foreign = [need for document in documents for need in document.foreign if store.has(need.digest, need.size)]
    own = [need for document in documents for need in _own(document)]
    found = {need.digest: Descriptor("", need.digest, need.size) for need in (*own, *foreign)}
    return sorted(found.values(), key=lambda blob: -blob.size)


def _own(document: Described) -> list[Need]:
    return [need for need in document.needs if not need.is_manifest]


def _documents(store: BlobStore, digest: str, depth: int = _DEPTH) -> list[tuple[str, Described]]:
    """The manifest, or the index after everything it names, down to `depth` indexes; each once."""
    found = {digest: _described(store, digest)}
    levels = [[digest]]
    for _ in range(depth):
        below = dict.fromkeys(need.digest for each in levels[-1] for need in found[each].needs if need.is_manifest)
        found |= {each: _described(store, each) for each in below if each not in found}
        levels.append(list(below))
    # what several levels name goes before the lowest of those that name it
    order = dict.fromkeys(each for level in reversed(levels) for each in level)
    return [(each, found[each]) for each in order]


def _described(store: BlobStore, digest: str) -> Described:
    try:
        return describe(store.read(digest, MAX_MANIFEST), "")
    except FileNotFoundError as error:
        raise Refused(
            f"{digest} is not on this machine", step="push", hint="pull it first, for every platform"
        ) from error


async def put_manifest(
    client: Client, name: str, media_type: str, content: bytes, errand: Errand, settings: RegistrySettings
) -> None:
    """Give it the name, a tag or its digest. A registry that does not list referrers itself gets the list as well.

    Raises Refused, RetryLater.
    """
    subject = describe(content, media_type).subject

    async def attempt() -> bool:
        headers = {"Content-Type": media_type}
        async with await client.ask("PUT", f"manifests/{name}", errand, headers, (200, 201, 202), content) as response:
            return "OCI-Subject" in response.headers

    if not await persist(attempt, settings) and subject:
        await _list_by_tag(client, subject, media_type, content, errand, settings)


async def _list_by_tag(
    client: Client, subject: str, media_type: str, content: bytes, errand: Errand, settings: RegistrySettings
) -> None:
    """distribution-spec 1.1, "Pushing Manifests with Subject"."""
    there = await tagged_list(client, subject, errand, settings)
    entries = (
        [dict(each.fields) for each in read_document(there.content, "list").children("manifests")] if there else []
    )
    made = describe(content, media_type)
    digest = digest_of(content)
    if any(entry.get("digest") == digest for entry in entries):
        return
    entry: dict[str, object] = {"mediaType": media_type, "digest": digest, "size": len(content)}
    entry |= without_empty({"artifactType": made.artifact_type, "annotations": made.annotations})
    listed = canonical_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, entry]})
    await put_manifest(client, referrers_tag(subject), OCI_INDEX, listed, errand, settings)
