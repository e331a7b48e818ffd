"""Manifests of one repository: fetched by tag or digest, verified, and the one for a platform chosen.

Called by whatever asks a registry; `Search` fetches no manifest by digest that is already in the store. Source:
distribution-spec 1.1, "Pulling manifests".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from aiohttp import ClientResponse

from runtime.images.blobs import BlobStore
from runtime.images.digests import digest_of, is_digest, new_hash, split_digest
from runtime.images.oci import INDEXES, MANIFESTS, MAX_MANIFEST, Descriptor, Index, Manifest, read_manifest
from runtime.images.platforms import Platform
from runtime.images.registry.client import Client
from runtime.images.registry.failures import Errand, refused
from runtime.images.registry.retry import persist
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.transport import read_small
from schemas.errors import Refused, RetryLater

T = TypeVar("T")

ACCEPT = ", ".join(sorted(INDEXES | MANIFESTS))
_NO_HEAD = frozenset({400, 404, 405, 406, 501})
_INDEX_DEPTH = 3
"""An index may name indexes; no honest image goes deeper."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of a manifest or an index, verified, and what they were said to be."""

    digest: str
    content: bytes
    media_type: str


async def first_of(clients: Sequence[Client], work: Callable[[Client], Awaitable[T]]) -> tuple[T, tuple[Client, ...]]:
    """What `work` gives at the first endpoint where it succeeds, and the endpoints in the order to ask next time.

    Raises what the last endpoint raised, and tells what the ones before it said.
    """
    said: list[str] = []
    for position, client in enumerate(clients):
        try:
            return await work(client), (*clients[position:], *clients[:position])
        except (Refused, RetryLater) as failure:
            if position == len(clients) - 1:
                failure.hint = "; ".join(filter(None, (failure.hint, *said)))
                raise
            said.append(f"the mirror {client.endpoint.host} said: {failure.message}")
    raise ValueError("no endpoint")


async def fetch_manifest(client: Client, name: str, errand: Errand, settings: RegistrySettings) -> Fetched:
    """The manifest that the tag or digest `name` names. Raises Refused, RetryLater."""

    async def attempt() -> Fetched:
        response = await client.ask("GET", f"manifests/{name}", errand, {"Accept": ACCEPT})
        async with response:
            content = await read_small(response, MAX_MANIFEST, errand, settings)
            return verified(response, content, name, errand)

    return await persist(attempt, settings)


async def find_manifest(client: Client, name: str, errand: Errand, settings: RegistrySettings) -> Fetched | None:
    """As `fetch_manifest`; None where the repository has none of that name."""

    async def attempt() -> Fetched | None:
        async with await client.ask("GET", f"manifests/{name}", errand, {"Accept": ACCEPT}, ok=(200, 404)) as response:
            if response.status == 404:
                return None
            return verified(response, await read_small(response, MAX_MANIFEST, errand, settings), name, errand)

    return await persist(attempt, settings)


def verified(response: ClientResponse, content: bytes, name: str, errand: Errand) -> Fetched:
    """Raises Refused when the bytes are not of the digest asked for, or not of the one the registry tells."""
    said = response.headers.get("Docker-Content-Digest", "")
    for digest in (name, said):
        if is_digest(digest) and not matches(digest, content):
            text = f"the manifest received is {digest_of(content)}, not {digest}"
            raise refused(text, errand, response.url, hint="the registry or something before it changed the manifest")
    digest = name if is_digest(name) else said if is_digest(said) else digest_of(content)
    return Fetched(digest, content, response.headers.get("Content-Type", ""))


def matches(digest: str, content: bytes) -> bool:
    """Whether the content has that digest."""
    algorithm, encoded = split_digest(digest)
    hasher = new_hash(algorithm)
    hasher.update(content)
    return hasher.hexdigest() == encoded


async def manifest_digest(client: Client, name: str, errand: Errand, settings: RegistrySettings) -> str:
    """The digest that `name` names today, by HEAD; by GET where the registry cannot say it so."""

    async def attempt() -> str:
        response = await client.ask("HEAD", f"manifests/{name}", errand, {"Accept": ACCEPT}, ok=(200, *_NO_HEAD))
        async with response:
            said = response.headers.get("Docker-Content-Digest", "")
            return said if response.status == 200 and is_digest(said) else ""

    return await persist(attempt, settings) or (await fetch_manifest(client, name, errand, settings)).digest


def read(fetched: Fetched, errand: Errand) -> Manifest | Index:
    """What the bytes mean. Raises Refused, naming the image."""
    try:
        return read_manifest(fetched.content, fetched.media_type)
    except Refused as error:
        raise named(error, errand) from error


def chosen(index: Index, platform: Platform, errand: Errand) -> Descriptor:
    """The index's entry for `platform`. Raises Refused, naming the image and what is offered."""
    try:
        return index.choose(platform)
    except Refused as error:
        raise named(error, errand) from error


def named(error: Refused, errand: Errand) -> Refused:
    """The same refusal, of the image that is pulled."""
    what = f"{error.object} {error.message}" if error.object else error.message
    return Refused(what, object=errand.image, step=errand.step, hint=error.hint)


@dataclass(frozen=True, slots=True)
class Found:
    """The manifest for a platform, and what the name it was found by stands for."""

    fetched: Fetched
    manifest: Manifest
    resolved: str


@dataclass(slots=True)
class Search:
    """From a name to the manifest for a platform. `clients` are kept in the order in which they answer."""

    store: BlobStore
    clients: tuple[Client, ...]
    settings: RegistrySettings
    errand: Errand

    async def manifest(self, name: str, platform: Platform) -> Found:
        """What the tag or digest `name` stands for on `platform`; each document on the way is in the store then."""
        fetched = await self.document(name)
        resolved = fetched.digest
        for _ in range(_INDEX_DEPTH):
            document = read(fetched, self.errand)
            if isinstance(document, Manifest):
                return Found(fetched, document, resolved)
            entry = chosen(document, platform, self.errand)
            fetched = replace(await self.document(entry.digest), media_type=entry.media_type)
            if len(fetched.content) != entry.size:
                raise self._refused(f"the manifest {entry.digest} is not of the size that the index says")
        raise self._refused(f"the index leads through more than {_INDEX_DEPTH} indexes")

    async def document(self, name: str) -> Fetched:
        """The manifest or index that the tag or digest `name` names, which is in the store then."""
        if is_digest(name) and (content := kept(self.store, name)) is not None:
            return Fetched(name, content, "")
        fetched, self.clients = await first_of(
            self.clients, lambda client: fetch_manifest(client, name, self.errand, self.settings)
        )
        with self.store.write(fetched.digest, len(fetched.content)) as writer:
            writer.restart()
            writer.write(fetched.content)
            writer.commit()
        return fetched

    def _refused(self, message: str) -> Refused:
        return Refused(message, object=self.errand.image, step=self.errand.step)


def kept(store: BlobStore, digest: str) -> bytes | None:
    """A manifest that the store has, whole and undamaged."""
    try:
        return store.read(digest, MAX_MANIFEST)
    except (FileNotFoundError, Refused):
        return None
