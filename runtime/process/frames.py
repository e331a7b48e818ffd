"""The frames of an attached connection: after its first message, every datagram is one byte of kind and the rest.

Client to monitor: STDIN (bytes), STDIN_CLOSED, SIZE (two u16: rows, columns). Monitor to client: STDOUT, STDERR, and
ENDED with the exit record as JSON, after which it closes.
"""

from __future__ import annotations

import struct

STDIN, STDOUT, STDERR, STDIN_CLOSED, SIZE, ENDED = range(6)

FRAME_BYTES = 1 << 16
"""What a reader must be ready for, kind included, and a writer keeps to."""

SIZE_FORMAT = struct.Struct("<HH")


def frame(kind: int, data: bytes = b"") -> bytes:
    """One datagram."""
    return bytes((kind,)) + data
