"""As much HTTP/1.1 (RFC 9112) as it takes to ask a daemon something on a connection of its own.

The standard library's client would cost more to import than all the rest of a command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from socket import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

MOST_HEADERS = 1 << 16
CHUNK = 1 << 16


class BadAnswer(Exception):
    """What came is no answer of a daemon's, or ended early."""


class Problem(Exception):
    """The daemon said no: a problem (RFC 9457) and its status."""

    def __init__(self, status: int, document: Mapping[str, object]) -> None:
        self.status = status
        self.document = document
        super().__init__(str(document.get("detail") or f"HTTP status {status}"))


class Answer:
    """Status and headers, and the body as it comes."""

    def __init__(self, channel: socket) -> None:
        self._channel = channel
        self._data = bytearray()
        while (end := self._data.find(b"\r\n\r\n")) < 0:
            if len(self._data) > MOST_HEADERS:
                raise BadAnswer("its headers do not end")
            self._fill()
        first, *lines = bytes(self._data[:end]).decode("latin-1").split("\r\n")
        del self._data[: end + 4]
        words = first.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise BadAnswer("it does not speak HTTP")
        self.status = int(words[1])
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _fill(self) -> None:
        data = self._channel.recv(CHUNK)
        if not data:
            raise BadAnswer("it ended early")
        self._data += data

    def body(self) -> Iterator[bytes]:
        """Piece by piece. Raises BadAnswer where it ends early."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
            return
        left = int(self.headers.get("content-length", "0"))
        while left:
            if not self._data:
                self._fill()
            yield (piece := bytes(self._data[:left]))
            left -= len(piece)
            del self._data[: len(piece)]

    def _chunks(self) -> Iterator[bytes]:
        while True:
            while (end := self._data.find(b"\r\n")) < 0:
                self._fill()
            size = int(bytes(self._data[:end]).split(b";")[0], 16)
            while len(self._data) < end + 2 + size + 2:
                self._fill()
            if not size:
                return
            piece = bytes(self._data[end + 2 : end + 2 + size])
            del self._data[: end + 2 + size + 2]
            yield piece

    def rest(self) -> bytes:
        """What came after the headers already, for an upgraded connection."""
        data = bytes(self._data)
        self._data.clear()
        return data

    def raise_problem(self) -> None:
        """Raises Problem for a status of 400 and more."""
        if self.status < 400:
            return
        body = b"".join(self.body())
        try:
            document = json.loads(body)
        except ValueError:
            document = {}
        raise Problem(self.status, document if isinstance(document, dict) else {})


def request(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def send_chunks(channel: socket, first: bytes, rest: BinaryIO) -> None:
    """A body whose length nobody knows (RFC 9112 section 7.1). Who stops listening has an answer to be read."""
    try:
        piece = first
        while piece:
            channel.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            piece = rest.read(CHUNK)
        channel.sendall(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        return


def ask(channel: socket, method: str, path: str, document: object = None) -> object:
    """One question, one answer, both JSON. Raises Problem, BadAnswer."""
    body = b"" if document is None else json.dumps(document).encode()
    headers = {"Connection": "close", "Content-Length": str(len(body)), "Content-Type": "application/json"}
    channel.sendall(request(method, path, headers) + body)
    answer = Answer(channel)
    answer.raise_problem()
    text = b"".join(answer.body())
    return json.loads(text) if text else None
