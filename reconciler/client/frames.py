"""How streams share one connection: a kind, a length, the bytes.

    kind (1 byte)  length (4 bytes, big endian)  payload

Standard streams go by their numbers. `CONTROL` is a JSON object: from the daemon `{"id": …}` first and `{"exit": code}`
last, or `{"want": [path, …]}`; from the client `{"resize": [rows, columns]}` and `{"eof": true}`.
"""

from __future__ import annotations

from collections.abc import Iterator

STDIN, STDOUT, STDERR, CONTROL = 0, 1, 2, 3
KINDS = frozenset((STDIN, STDOUT, STDERR, CONTROL))
HEADER_BYTES = 5
MOST_BYTES = 1 << 20
"""Of one payload; a longer one is no frame of ours."""
MEDIA_TYPE = "application/vnd.trimtab.stream"


class Garbled(ValueError):
    """What came is no frame."""


def frame(kind: int, payload: bytes) -> bytes:
    return bytes((kind,)) + len(payload).to_bytes(4, "big") + payload


def frames(kind: int, data: bytes) -> Iterator[bytes]:
    """`data` in as many frames as it needs."""
    for start in range(0, len(data), MOST_BYTES):
        yield frame(kind, data[start : start + MOST_BYTES])


class Decoder:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that `data` completes. Raises Garbled."""
        self._waiting += data
        while len(self._waiting) >= HEADER_BYTES:
            kind, length = self._waiting[0], int.from_bytes(self._waiting[1:HEADER_BYTES], "big")
            if kind not in KINDS or length > MOST_BYTES:
                raise Garbled(f"kind {kind} of {length} bytes")
            if len(self._waiting) < HEADER_BYTES + length:
                return
            payload = bytes(self._waiting[HEADER_BYTES : HEADER_BYTES + length])
            del self._waiting[: HEADER_BYTES + length]
            yield kind, payload
