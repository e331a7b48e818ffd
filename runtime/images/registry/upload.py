"""One blob on its way to a registry: skipped where it is there, mounted from another repository, else sent in chunks.

Called by `push`. A broken upload goes on where the registry says it stands. Source: distribution-spec 1.1, "Pushing
blobs", "Mounting a blob from another repository", "Pushing a blob in chunks".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from urllib.parse import quote

import aiohttp
from yarl import URL

from runtime.images.blobs import BlobStore
from runtime.images.oci import Descriptor
from runtime.images.registry.client import Client
from runtime.images.registry.failures import Errand, refused, transient
from runtime.images.registry.retry import Transient, persist
from runtime.images.registry.settings import RegistrySettings
from runtime.images.registry.threads import in_thread

CHUNK = 8 << 20
"""Bytes held in memory for one upload; what a broken connection may cost."""

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})", re.ASCII)


class Upload:
    """One blob of `store` to the repository of a client; tells `report` how many bytes are there."""

    def __init__(
        self,
        store: BlobStore,
        blob: Descriptor,
        errand: Errand,
        settings: RegistrySettings,
        pool: Executor,
        report: Callable[[int], None],
    ) -> None:
        self._store = store
        self._blob = blob
        self._errand = errand
        self._settings = settings
        self._pool = pool
        self._report = report
        self._at: URL | None = None
        self._sent = 0

    async def ensure(self, client: Client, elsewhere: Sequence[str]) -> None:
        """The repository has the blob. `elsewhere`: repositories of the same registry that may have it.

        Raises Refused, RetryLater.
        """
        if not await self._is_there(client):
            await persist(lambda: self._attempt(client, elsewhere), self._settings)
        self._report(self._blob.size)

    async def _is_there(self, client: Client) -> bool:
        async def attempt() -> bool:
            what = f"blobs/{self._blob.digest}"
            async with await client.ask("HEAD", what, self._errand, ok=(200, 404)) as response:
                return response.status == 200

        return await persist(attempt, self._settings)

    async def _attempt(self, client: Client, elsewhere: Sequence[str]) -> None:
        before = self._sent
        try:
            if self._at is None and await self._begin(client, elsewhere):
                return
            if self._sent:
                await self._find_out(client)
            await self._send(client)
        except Transient as failed:
            failed.gained = self._sent > before
            raise

    async def _begin(self, client: Client, elsewhere: Sequence[str]) -> bool:
        """Whether the registry had it already, in another repository."""
        for repository in elsewhere:
            what = f"blobs/uploads/?mount={quote(self._blob.digest)}&from={quote(repository, safe='')}"
            async with await client.ask("POST", what, self._errand, ok=(201, 202, 401, 403, 404)) as response:
                if response.status == 201:
                    return True
                if response.status == 202:
                    self._at = self._told(response)
                    return False
        async with await client.ask("POST", "blobs/uploads/", self._errand, ok=(202,)) as response:
            self._at = self._told(response)
        return False

    async def _find_out(self, client: Client) -> None:
        """How much of a broken upload has arrived; one that the registry has forgotten begins anew."""
        assert self._at is not None
        ok = (204, 202, 200, 404)
        async with await client.ask("GET", str(self._at), self._errand, ok=ok) as response:
            if response.status == 404:
                self._at, self._sent = None, 0
                raise transient(f"{response.url.authority} has forgotten the upload", self._errand, response.url)
            found = _RANGE.fullmatch(response.headers.get("Range", ""))
            self._sent = int(found[1]) + 1 if found and int(found[1]) else 0
            self._at = self._told(response, self._at)

    async def _send(self, client: Client) -> None:
        """What is missing, in chunks; the last one goes with the request that ends the upload."""
        with self._store.open(self._blob.digest) as content:
            await in_thread(self._pool, content.seek, self._sent)
            while True:
                chunk = await in_thread(self._pool, content.read, CHUNK)
                if self._sent + len(chunk) >= self._blob.size:
                    await self._finish(client, chunk)
                    return
                await self._patch(client, chunk)

    async def _patch(self, client: Client, chunk: bytes) -> None:
        headers = self._headers(chunk)
        async with await client.ask("PATCH", str(self._at), self._errand, headers, (202, 204), chunk) as response:
            self._at = self._told(response, self._at)
        self._sent += len(chunk)
        self._report(self._sent)

    async def _finish(self, client: Client, chunk: bytes) -> None:
        assert self._at is not None
        address = str(self._at.update_query(digest=self._blob.digest))
        async with await client.ask("PUT", address, self._errand, self._headers(chunk), (201, 204), chunk):
            self._sent += len(chunk)

    def _headers(self, chunk: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/octet-stream"}
        if chunk:
            headers["Content-Range"] = f"{self._sent}-{self._sent + len(chunk) - 1}"
        return headers

    def _told(self, response: aiohttp.ClientResponse, otherwise: URL | None = None) -> URL:
        """Where to go on. Raises Refused for an address that is not the registry's own: the blob is not for others."""
        location = response.headers.get("Location")
        if not location and otherwise is not None:
            return otherwise
        try:
            told = response.url.join(URL(location or "", encoded=True))
        except ValueError:
            told = URL()
        if not location or told.origin() != response.url.origin():
            raise refused(
                f"{response.url.authority} names no place of its own for the upload", self._errand, response.url
            )
        return told
