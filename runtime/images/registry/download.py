"""One blob from a registry into the store: streamed, verified, resumed.

Called by `pull` for the config and for each layer. The event loop receives while a thread hashes and writes the piece
before; so memory is a few pieces for each blob, whatever its size. A foreign layer's `urls` are never followed.
Source: distribution-spec 1.1, "Pulling blobs"; RFC 9110 section 14 (ranges).
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import aiohttp

from runtime.images.blobs import BlobWriter, DigestMismatch
from runtime.images.registry.client import Client
from runtime.images.registry.failures import connection_failure, refused, transient
from runtime.images.registry.manifests import first_of
from runtime.images.registry.retry import Transient, persist
from runtime.images.registry.threads import background, in_thread, opened_in_thread
from runtime.images.registry.transfer import Transfer
from runtime.images.registry.turns import turn

_PIECE = 1 << 20
_GOOD_GAIN = 8 << 20
"""An attempt that brought this many new bytes is not counted against `attempts`."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)


@dataclass
class Download(Transfer):
    """One blob on its way here. `best`: bytes that some attempt has had."""

    best: int = field(default=0, init=False)

    async def ensure(self, clients: Sequence[Client]) -> None:
        """The blob is in the store. Raises Refused, RetryLater."""
        async with turn(self.store, self.blob.digest, self.settings.stall_timeout):
            if not self.store.has(self.blob.digest, self.blob.size):
                await first_of(clients, self._fetch)
        self.report(self.blob.size)

    async def _fetch(self, client: Client) -> None:
        await persist(lambda: self._attempt(client), self.settings)

    async def _attempt(self, client: Client) -> None:
        async with opened_in_thread(self.pool, self.store.write, self.blob.digest, self.blob.size) as writer:
            self.best = max(self.best, writer.offset)
            try:
                if writer.offset < self.blob.size:
                    await self._receive(client, writer)
                await in_thread(self.pool, writer.commit)
            except Transient as failed:
                failed.gained = writer.offset >= self.best + _GOOD_GAIN
                raise
            except DigestMismatch as error:
                raise self._mismatch(error, client, is_resumed=writer.resume_offset > 0) from error

    async def _receive(self, client: Client, writer: BlobWriter) -> None:
        headers = {"Range": f"bytes={writer.offset}-"} if writer.offset else {}
        what = f"blobs/{self.blob.digest}"
        async with await client.ask("GET", what, self.errand, headers, ok=(200, 206, 416)) as response:
            start = body_start(response, writer.offset, self.blob.size)
            if start != writer.offset:
                writer.restart()
            if start is None:
                raise transient(f"{response.url.authority} sent another range than asked", self.errand, response.url)
            self._require_length(response, self.blob.size - start)
            await self._stream(response, writer)
            if writer.offset < self.blob.size:
                text = f"{response.url.authority} sent {writer.offset} of {self.blob.size} bytes"
                raise transient(text, self.errand, response.url)

    def _require_length(self, response: aiohttp.ClientResponse, expected: int) -> None:
        if response.content_length not in (None, expected):
            text = f"{response.url.authority} sends {response.content_length} bytes where the manifest says {expected}"
            raise refused(text, self.errand, response.url, "the registry's blob is not the manifest's: push it again")

    async def _stream(self, response: aiohttp.ClientResponse, writer: BlobWriter) -> None:
        """Receive a piece while a thread writes the one before."""
        async with aclosing(self._pieces(response)) as pieces, background(self.pool) as write:
            async for piece in pieces:
                await write(write_all, writer, piece)
                self.report(writer.offset)

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[list[bytes], None]:
        """Lists of chunks, about _PIECE bytes each. Raises Transient after the last bytes of a broken connection."""
        piece: list[bytes] = []
        size = 0
        broken: Exception | None = None
        try:
            async for chunk in response.content.iter_any():
                piece.append(chunk)
                size += len(chunk)
                if size >= _PIECE:
                    yield piece
                    piece, size = [], 0
        except (aiohttp.ClientError, OSError) as error:
            broken = connection_failure(error, response.url, self.errand, self.settings)
            broken.__cause__ = error
            piece.append(unread(response.content))
        if piece:
            yield piece
        if broken:
            raise broken

    def _mismatch(self, error: DigestMismatch, client: Client, *, is_resumed: bool) -> Exception:
        text = f"{client.endpoint.host} did not send what the manifest names: {error.message}"
        url = client.address(f"blobs/{self.blob.digest}")
        if is_resumed:  # the piece from before may be to blame, and is gone by now
            return transient(text, self.errand, url)
        return refused(text, self.errand, url, "the registry, or a proxy before it, holds or makes something else")


def unread(content: aiohttp.StreamReader) -> bytes:
    """What arrived before the connection broke: aiohttp tells of the break first, and then gives no more."""
    content.set_exception(None)  # type: ignore[arg-type]
    return content.read_nowait()


def write_all(writer: BlobWriter, piece: Sequence[bytes]) -> None:
    """In a thread: hashes and writes a piece."""
    for chunk in piece:
        writer.write(chunk)


def body_start(response: aiohttp.ClientResponse, offset: int, size: int) -> int | None:
    """Where in the blob the answer's body begins; None when it is not what a request from `offset` on may get."""
    if response.status == 200:
        return 0
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != 206 or not found or not offset:
        return None
    is_rest = (int(found[1]), int(found[2])) == (offset, size - 1) and found[3] in ("*", str(size))
    return offset if is_rest else None
