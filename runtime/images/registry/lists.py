"""Manifest lists: several images, of one or more registries, under one name, one for each platform.

Called by the command line, from any thread that runs no event loop. What the target's repository has not yet is
brought there first; the list goes last. Entries are kept as they were written, whatever fields they have.

Source: OCI image-spec 1.1, image-index.md; distribution-spec 1.1, "Pushing Manifests".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from runtime.images.blobs import BlobStore
from runtime.images.config import MAX_CONFIG, read_image_document
from runtime.images.digests import digest_of
from runtime.images.documents import canonical_json, read_document
from runtime.images.oci import DOCKER_LIST, DOCKER_MANIFEST, INDEXES, MANIFESTS, OCI_INDEX, Manifest
from runtime.images.oci import read_manifest as read_image
from runtime.images.platforms import platform_fields
from runtime.images.progress import Report, ignore
from runtime.images.registry.client import Client
from runtime.images.registry.download import Download
from runtime.images.registry.endpoints import registry_endpoint
from runtime.images.registry.failures import Errand
from runtime.images.registry.manifests import Fetched, Search, find_manifest, named
from runtime.images.registry.pull import clients_of, require_small
from runtime.images.registry.push import ACTIONS, bring_all, push_from, put_manifest
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.transport import Transport, connected
from schemas.errors import Refused, TrimtabError
from schemas.reference import Reference

Entry = Mapping[str, Any]
"""A descriptor, as it stands in an index."""


@dataclass(frozen=True, slots=True)
class ListWanted:
    """`is_added`: to what `target` names already, in place of its images for the same platforms."""

    target: Reference
    sources: Sequence[Reference]
    is_added: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    digest: str
    content: bytes


def create_list(
    store: BlobStore,
    wanted: ListWanted,
    *,
    settings: RegistrySettings,
    progress: Report = ignore,
    is_pushed: bool = True,
) -> Listed:
    """The list as `target` names it then; unless `is_pushed`, as it would be. Raises Refused, RetryLater."""
    return asyncio.run(_create(store, wanted, settings, progress, is_pushed))


def read_list(reference: Reference, settings: RegistrySettings) -> Fetched:
    """The manifest or list that `reference` names, as the registry has it. Raises Refused, RetryLater."""
    return asyncio.run(_read(reference, settings))


async def _read(reference: Reference, settings: RegistrySettings) -> Fetched:
    async with connected(settings) as transport:
        fetched = await _existing(_target(reference, transport, "pull"), reference, settings)
    if fetched is None:
        raise Refused("the registry has no such manifest", object=str(reference), step="inspect")
    return fetched


async def _create(
    store: BlobStore, wanted: ListWanted, settings: RegistrySettings, progress: Report, is_pushed: bool
) -> Listed:
    try:
        async with connected(settings) as transport:
            client = _target(wanted.target, transport, ACTIONS)
            entries: list[Entry] = []
            if wanted.is_added and (there := await _existing(client, wanted.target, settings)):
                entries += _listed(there)
            for source in wanted.sources:
                entries = _merged(entries, await _brought(store, source, wanted.target, transport, progress, is_pushed))
            made = _list_of(entries, wanted.annotations)
            if is_pushed:
                errand = Errand(str(wanted.target), "push manifest list")
                name = wanted.target.tag or made.digest
                kind = str(read_document(made.content, "list").text("mediaType"))
                await put_manifest(client, name, kind, made.content, errand, settings)
            return made
    except TrimtabError as error:
        error.object = error.object or str(wanted.target)
        raise


def _target(reference: Reference, transport: Transport, actions: str) -> Client:
    return Client(registry_endpoint(reference.domain, transport.settings), reference.path, transport, actions)


async def _existing(client: Client, reference: Reference, settings: RegistrySettings) -> Fetched | None:
    return await find_manifest(client, reference.pin, Errand(str(reference), "read manifest list"), settings)


async def _brought(
    store: BlobStore, source: Reference, target: Reference, transport: Transport, progress: Report, is_pushed: bool
) -> list[Entry]:
    """The entries that stand for `source`, whose images the target's repository has then."""
    errand = Errand(str(source), "pull manifest")
    search = Search(store, clients_of(source, transport), transport.settings, errand)
    fetched = await search.document(source.pin)
    if is_pushed and (source.domain, source.path) != (target.domain, target.path):
        await bring_all(search, fetched.digest, progress)
        await push_from(store, source, target, fetched.digest, transport, progress)
    return _listed(fetched) if _kind(fetched) in INDEXES else [await _described(search, fetched)]


def _kind(fetched: Fetched) -> str:
    return read_document(fetched.content, "manifest").text("mediaType", fetched.media_type.partition(";")[0])


def _listed(fetched: Fetched) -> list[Entry]:
    """Of a list its entries. Raises Refused for an image: it is no list, and names no platform."""
    if _kind(fetched) not in INDEXES:
        raise Refused("is an image, not a list", step="read manifest list", hint="leave --append out")
    return [entry.fields for entry in read_document(fetched.content, "list").children("manifests")]


async def _described(search: Search, fetched: Fetched) -> Entry:
    """An entry for one image: its platform is what its config says."""
    try:
        image = read_image(fetched.content, fetched.media_type)
    except Refused as error:
        raise named(error, search.errand) from error
    assert isinstance(image, Manifest)
    require_small(image.config, search.errand)
    with ThreadPoolExecutor(1, "trimtab-config") as pool:
        errand = search.errand.to("pull config")
        await Download(search.store, image.config, errand, search.settings, pool, lambda done: None).ensure(
            search.clients
        )
    platform = read_image_document(search.store.read(image.config.digest, MAX_CONFIG)).platform
    size = len(fetched.content)
    made: dict[str, Any] = {"mediaType": image.media_type, "digest": fetched.digest, "size": size}
    return made | {"platform": platform_fields(platform)}


def _merged(old: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """`new` behind what of `old` is neither the same image nor for a same platform."""
    replaced = [_place(entry) for entry in new]
    digests = {entry["digest"] for entry in new}
    stays = [entry for entry in old if entry["digest"] not in digests and _place(entry) not in replaced]
    return [*stays, *new]


def _place(entry: Entry) -> object:
    """Its platform; an attestation's is that of nothing, so it stands for itself."""
    platform = dict(entry.get("platform") or {})
    return entry["digest"] if platform.get("os", "unknown") == "unknown" else platform


def _list_of(entries: Sequence[Entry], annotations: Mapping[str, str]) -> Listed:
    """Docker's form where all of it is Docker's and needs nothing that only OCI has."""
    if not entries:
        raise Refused("a list of nothing", step="make manifest list")
    for entry in entries:
        if entry.get("mediaType") not in MANIFESTS | INDEXES:
            raise Refused(f"{str(entry.get('mediaType'))[:100]!r} is no image", step="make manifest list")
    docker = not annotations and all(entry["mediaType"] == DOCKER_MANIFEST for entry in entries)
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST if docker else OCI_INDEX,
        "manifests": [dict(entry) for entry in entries],
    }
    content = canonical_json(document | ({"annotations": dict(annotations)} if annotations else {}))
    return Listed(digest_of(content), content)
