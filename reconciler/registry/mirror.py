"""Another registry, through this one: what it has is brought when it is asked for, verified, and kept.

A digest is brought once. A tag is believed for a while, then compared with the registry's by HEAD. While that registry
does not answer, what is here is served, with a warning. Nothing is pushed through a mirror, and it shows nobody's
credentials but those it was told to use.

Source: distribution-spec 1.1, "Registry Proxying".
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from reconciler.daemon.log import logger
from reconciler.registries import read_registries
from reconciler.registry.errors import Denied
from reconciler.registry.fetching import Fetching
from reconciler.registry.settings import Settings
from runtime.images.blobs import BlobStore
from runtime.images.digests import is_digest
from runtime.images.hosted.catalog import Catalog, Held
from runtime.images.hosted.described import describe
from runtime.images.hosted.keeping import keep_manifest
from runtime.images.oci import MAX_MANIFEST
from runtime.images.registry.client import Client
from runtime.images.registry.credentials import Credentials
from runtime.images.registry.endpoints import DOCKER_HUB, Endpoint, mirror_endpoint, registry_endpoint
from runtime.images.registry.failures import Errand
from runtime.images.registry.manifests import ACCEPT, fetch_manifest
from runtime.images.registry.retry import persist
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.transport import Transport, connected, read_small
from runtime.layout import Layout
from schemas.errors import Refused, RetryLater

LOG = logger("registry")
P = ParamSpec("P")
T = TypeVar("T")
CLIENTS = 256
"""Repositories whose tokens are remembered."""
AT_ONCE = 8
"""Blobs under way."""


class Mirror:
    """Of the registry that `endpoint` names. Used in one event loop."""

    def __init__(
        self,
        layout: Layout,
        catalog: Catalog,
        settings: Settings,
        endpoint: Endpoint,
        transport: Transport,
        pool: Executor,
    ) -> None:
        self._layout = layout
        self._catalog = catalog
        self._settings = settings
        self._endpoint = endpoint
        self._transport = transport
        self._pool = pool
        self._clients: OrderedDict[str, Client] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._fetching: dict[str, Fetching] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    async def ensure_manifest(self, name: str, pin: str) -> str:
        """The catalog has what `pin` names, if there is such a thing; what to warn of, or nothing.

        Raises Denied, RetryLater where it is not here and cannot be had.
        """
        turn = self._turns.setdefault(f"{name}@{pin}", asyncio.Lock())
        async with turn:
            held = await self._held(name, pin)
            if held is not None and (is_digest(pin) or self._is_fresh(held.checked_at)):
                return ""
            try:
                await self._bring(name, pin, held)
            except RetryLater as error:
                if held is None:
                    raise
                LOG.warning("the mirrored registry does not answer", repository=name, tag=pin, error=error.message)
                return "the mirrored registry does not answer; this is what it said before"
            except Refused as error:
                raise Denied(404, "MANIFEST_UNKNOWN", error.message) from error
        return ""

    def _is_fresh(self, checked_at: float) -> bool:
        """A look to come was made before the clock was set back."""
        return 0 <= time.time() - checked_at < self._settings.fresh_seconds

    async def _held(self, name: str, pin: str) -> Held | None:
        held = await self._do(self._catalog.manifest, name, pin)
        if held is None:
            return None
        return held if await self._do(BlobStore(self._layout).has, held.digest, held.size) else None

    async def _bring(self, name: str, pin: str, held: Held | None) -> None:
        client, errand = self._client(name), Errand(name, "mirror manifest")
        if held is not None:
            digest = await self._digest_now(client, pin, errand)
            if digest is None:
                await self._do(self._catalog.remove_tag, name, pin)
                return
            if digest == held.digest:
                await self._do(self._catalog.check_tag, name, pin)
                return
        fetched = await fetch_manifest(client, pin, errand, self._transport.settings)
        described = describe(fetched.content, fetched.media_type)
        place = (self._layout, self._catalog, name)
        tags = [] if is_digest(pin) else [pin]
        await self._do(keep_manifest, *place, fetched.digest, fetched.content, described, tags, is_whole=False)

    async def _digest_now(self, client: Client, tag: str, errand: Errand) -> str | None:
        """What the tag names there today; empty where the registry does not say, None where there is no such tag."""

        async def attempt() -> str | None:
            headers = {"Accept": ACCEPT}
            async with await client.ask("HEAD", f"manifests/{tag}", errand, headers, ok=(200, 404)) as response:
                said = response.headers.get("Docker-Content-Digest", "")
                return None if response.status == 404 else said if is_digest(said) else ""

        return await persist(attempt, self._transport.settings)

    async def fetch_blob(self, name: str, digest: str) -> Fetching | None:
        """The blob on its way here; None where the mirrored registry has none, or one that is larger than is taken.

        Raises RetryLater.
        """
        running = self._fetching.get(digest)
        if running is None:
            try:
                size = await self._size(name, digest)
            except Refused:
                return None
            if size > self._settings.blob_bytes:
                LOG.warning("a mirrored blob is too large", repository=name, digest=digest, bytes=size)
                return None
            running = self._fetching.get(digest)
        if running is None:
            running = self._fetching[digest] = Fetching(digest, size)
            running.begin(self._receive(running, name), lambda: self._fetching.pop(digest, None))
        await self._do(self._catalog.add_blob, name, digest, running.size)
        return running

    async def _receive(self, fetching: Fetching, name: str) -> None:
        async with self._places:
            errand = Errand(name, f"mirror blob {fetching.digest[:19]}")
            await fetching.receive(BlobStore(self._layout), self._client(name), errand, self._transport, self._pool)

    async def _size(self, name: str, digest: str) -> int:
        """Bytes of the blob: as a manifest says, else as the mirrored registry does. Raises Refused, RetryLater."""
        known = await self._do(self._catalog.needed_size, name, digest)
        if known is not None:
            return known
        errand = Errand(name, "mirror blob")

        async def attempt() -> int:
            async with await self._client(name).ask("HEAD", f"blobs/{digest}", errand) as response:
                if response.content_length is None:
                    raise Refused("the mirrored registry does not say how long it is", step="mirror blob")
                return response.content_length

        return await persist(attempt, self._transport.settings)

    async def ask_list(self, name: str, what: str) -> tuple[bytes, Mapping[str, str]] | None:
        """What the mirrored registry lists, and its headers; None where it lists nothing or does not answer."""
        errand = Errand(name, "mirror list")

        async def attempt() -> tuple[bytes, Mapping[str, str]]:
            async with await self._client(name).ask("GET", what, errand) as response:
                content = await read_small(response, MAX_MANIFEST, errand, self._transport.settings)
                return content, response.headers

        try:
            return await persist(attempt, self._transport.settings)
        except (Refused, RetryLater) as error:
            LOG.info("the mirrored registry lists nothing", repository=name, error=error.message)
            return None

    def _client(self, name: str) -> Client:
        client = self._clients.pop(name, None)
        if client is None:
            own = None if self._settings.mirror_login else Credentials()
            client = Client(self._endpoint, name, self._transport, credentials=own)
        self._clients[name] = client
        if len(self._clients) > CLIENTS:
            self._clients.popitem(last=False)
        return client

    async def _do(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._pool, partial(call, *args, **kwargs)))

    async def close(self) -> None:
        """End what is under way; what has arrived of it is kept for the next time."""
        for fetching in list(self._fetching.values()):
            await fetching.stop()


@asynccontextmanager
async def mirroring(layout: Layout, catalog: Catalog, settings: Settings) -> AsyncIterator[Mirror]:
    """Raises Refused for what is no registry's address."""
    reached = impatient(read_registries(layout))
    endpoint = read_mirror(settings.mirror, reached)
    with ThreadPoolExecutor(AT_ONCE * 2, "trimtab-mirror") as pool:
        async with connected(reached) as transport:
            mirror = Mirror(layout, catalog, settings, endpoint, transport, pool)
            try:
                yield mirror
            finally:
                await mirror.close()


def impatient(settings: RegistrySettings) -> RegistrySettings:
    """A client waits for us meanwhile."""
    return replace(settings, attempts=min(settings.attempts, 2), connect_timeout=min(settings.connect_timeout, 5.0))


def read_mirror(text: str, settings: RegistrySettings) -> Endpoint:
    """`https://HOST[:PORT][/PREFIX]`, `http://…`, or `docker.io`. Raises Refused."""
    if text.removeprefix("https://").strip("/") == DOCKER_HUB:
        return registry_endpoint(DOCKER_HUB, settings)
    try:
        return mirror_endpoint(text, settings)
    except ValueError as error:
        raise Refused(str(error), step="mirror", path=text) from error
