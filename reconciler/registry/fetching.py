"""A blob on its way from the mirrored registry into the store, and from there to whoever waits for it meanwhile.

Several clients may wait for one. They get what has arrived as it arrives, and the last byte only after the digest was
verified: so nobody ever has the whole of what is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

from runtime.images.blobs import BlobStore, partial_name
from runtime.images.oci import Descriptor
from runtime.images.registry.client import Client
from runtime.images.registry.download import Download
from runtime.images.registry.failures import Errand
from runtime.images.registry.transport import Transport

PIECE = 1 << 20
POLL_SECONDS = 0.1
"""What has arrived is looked for that often."""
MEDIA_TYPE = "application/octet-stream"


class Fetching:
    def __init__(self, digest: str, size: int) -> None:
        self.digest = digest
        self.size = size
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[None, None, None], end: Callable[[], object]) -> None:
        """`work` goes on though whoever asked leaves; `end` is called when it has ended."""
        self._task = asyncio.ensure_future(work)

        def ended(task: asyncio.Task[None]) -> None:
            end()
            self._moved.set()
            _seen(task)

        self._task.add_done_callback(ended)

    async def receive(
        self, store: BlobStore, client: Client, errand: Errand, transport: Transport, pool: Executor
    ) -> None:
        """Raises Refused, RetryLater."""
        blob = Descriptor(MEDIA_TYPE, self.digest, self.size)
        await Download(store, blob, errand, transport.settings, pool, self._tell).ensure((client,))

    async def wait(self) -> None:
        """Until it is here and verified. Raises Refused, RetryLater."""
        assert self._task is not None
        await asyncio.shield(self._task)

    async def pieces(self, store: BlobStore) -> AsyncGenerator[bytes, None]:
        """All of it, as it comes. Raises Refused, RetryLater, before the last byte."""
        assert self._task is not None
        sent, path = 0, store.path(self.digest).parent.parent / "partial" / partial_name(self.digest)
        while not self._task.done():
            self._moved.clear()
            most = min(self.size - 1 - sent, PIECE)
            piece = await asyncio.to_thread(_read, path, sent, most) if most > 0 else b""
            if piece:
                sent += len(piece)
                yield piece
            elif not self._task.done():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._moved.wait(), POLL_SECONDS)
        await self.wait()
        while piece := await asyncio.to_thread(_read, store.path(self.digest), sent, PIECE):
            sent += len(piece)
            yield piece

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _tell(self, done: int) -> None:
        self._moved.set()


def _read(path: Path, offset: int, size: int) -> bytes:
    """Nothing where the file is not there yet, or has just become the blob."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except FileNotFoundError:
        return b""


def _seen(task: asyncio.Task[None]) -> None:
    """A failure that nobody waits for any more is no news."""
    if not task.cancelled():
        task.exception()
