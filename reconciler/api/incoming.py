"""What a client sends after its command, as the standard input of the thread that carries it out."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import CancelledError
from typing import Any

from aiohttp import StreamReader
from aiohttp.client_exceptions import ClientError
from aiohttp.http_exceptions import HttpProcessingError

STALL_SECONDS = 60.0
"""A client that begins to send and then does not go on is given up."""
CHUNK = 1 << 18


class IncomingBytes(io.RawIOBase):
    """Read from a thread; the bytes come from the event loop."""

    def __init__(self, content: StreamReader) -> None:
        self._content = content
        self._loop = asyncio.get_running_loop()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises OSError where the client has left or stalls."""
        reading = asyncio.run_coroutine_threadsafe(self._read(min(len(buffer), CHUNK)), self._loop)
        try:
            data = reading.result()
        except (TimeoutError, CancelledError, ConnectionError, ClientError, HttpProcessingError) as error:
            raise OSError(f"what was to be sent did not come: {str(error) or type(error).__name__}") from error
        buffer[: len(data)] = data
        return len(data)

    async def _read(self, size: int) -> bytes:
        async with asyncio.timeout(STALL_SECONDS):
            return await self._content.read(size)


class StandardInput(io.TextIOWrapper):
    """As `sys.stdin` is: text, with the bytes at `.buffer`."""

    def __init__(self, content: StreamReader, *, is_terminal: bool) -> None:
        super().__init__(io.BufferedReader(IncomingBytes(content), CHUNK))
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal
