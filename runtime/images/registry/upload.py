"""One blob on its way to a registry: skipped where it is there, mounted from another repository, else sent in chunks.

Called by `push`. A broken upload goes on where the registry says it stands. Source: distribution-spec 1.1, "Pushing
blobs", "Mounting a blob from another repository", "Pushing a blob in chunks".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
from yarl import URL

from runtime.images.registry.client import Client
from runtime.images.registry.failures import refused, transient
from runtime.images.registry.retry import Transient, persist
from runtime.images.registry.threads import in_thread
from runtime.images.registry.transfer import Transfer

CHUNK = 8 << 20
"""Bytes held in memory for one upload; what a broken connection may cost."""

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})", re.ASCII)


@dataclass
class Upload(Transfer):
    """One blob to the repository of a client. `at`: where the registry takes it; `sent`: bytes it has."""

    at: URL | None = field(default=None, init=False)
    sent: int = field(default=0, init=False)

    async def ensure(self, client: Client, elsewhere: Sequence[str]) -> None:
        """The repository has the blob. `elsewhere`: repositories of the same registry that may have it.

        Raises Refused, RetryLater.
        """
        if not await self._is_there(client):
            await persist(lambda: self._attempt(client, elsewhere), self.settings)
        self.report(self.blob.size)

    async def _is_there(self, client: Client) -> bool:
        async def attempt() -> bool:
            what = f"blobs/{self.blob.digest}"
            async with await client.ask("HEAD", what, self.errand, ok=(200, 404)) as response:
                return response.status == 200

        return await persist(attempt, self.settings)

    async def _attempt(self, client: Client, elsewhere: Sequence[str]) -> None:
        before = self.sent
        try:
            if self.at is None and await self._begin(client, elsewhere):
                return
            if self.sent:
                await self._find_out(client)
            await self._send(client)
        except Transient as failed:
            failed.gained = self.sent > before
            raise

    async def _begin(self, client: Client, elsewhere: Sequence[str]) -> bool:
        """Whether the registry had it already, in another repository."""
        for repository in elsewhere:
            what = f"blobs/uploads/?mount={quote(self.blob.digest)}&from={quote(repository, safe='')}"
            async with await client.ask("POST", what, self.errand, ok=(201, 202, 401, 403, 404)) as response:
                if response.status == 201:
                    return True
                if response.status == 202:
                    self.at = self._told(response)
                    return False
        async with await client.ask("POST", "blobs/uploads/", self.errand, ok=(202,)) as response:
            self.at = self._told(response)
        return False

    async def _find_out(self, client: Client) -> None:
        """How much of a broken upload has arrived; one that the registry has forgotten begins anew."""
        assert self.at is not None
        ok = (204, 202, 200, 404)
        async with await client.ask("GET", str(self.at), self.errand, ok=ok) as response:
            if response.status == 404:
                self.at, self.sent = None, 0
                raise transient(f"{response.url.authority} has forgotten the upload", self.errand, response.url)
            found = _RANGE.fullmatch(response.headers.get("Range", ""))
            self.sent = int(found[1]) + 1 if found and int(found[1]) else 0
            self.at = self._told(response, self.at)

    async def _send(self, client: Client) -> None:
        """What is missing, in chunks; the last one goes with the request that ends the upload."""
        with self.store.open(self.blob.digest) as content:
            await in_thread(self.pool, content.seek, self.sent)
            while True:
                chunk = await in_thread(self.pool, content.read, CHUNK)
                if self.sent + len(chunk) >= self.blob.size:
                    await self._finish(client, chunk)
                    return
                await self._patch(client, chunk)

    async def _patch(self, client: Client, chunk: bytes) -> None:
        headers = self._headers(chunk)
        async with await client.ask("PATCH", str(self.at), self.errand, headers, (202, 204), chunk) as response:
            self.at = self._told(response, self.at)
        self.sent += len(chunk)
        self.report(self.sent)

    async def _finish(self, client: Client, chunk: bytes) -> None:
        assert self.at is not None
        address = str(self.at.update_query(digest=self.blob.digest))
        async with await client.ask("PUT", address, self.errand, self._headers(chunk), (201, 204), chunk):
            self.sent += len(chunk)

    def _headers(self, chunk: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/octet-stream"}
        if chunk:
            headers["Content-Range"] = f"{self.sent}-{self.sent + len(chunk) - 1}"
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
                f"{response.url.authority} names no place of its own for the upload", self.errand, response.url
            )
        return told
