"""A health check by gRPC's own protocol: grpc.health.v1.Health/Check answers SERVING.

One call needs little of HTTP/2: the preface, one HEADERS frame whose fields are written out in full, one DATA frame,
and of the answer its DATA alone. So the frames are made here (docs/decisions/0017-grpc-by-hand.md).

Source: RFC 9113 (HTTP/2), RFC 7541 (HPACK), grpc PROTOCOL-HTTP2.md, grpc health-checking.md.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.probes.connection import open_connection
from runtime.process.records import ProcessRecord

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK, END_STREAM, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
STREAM = 1
METHOD = "/grpc.health.v1.Health/Check"
STATUS_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
SERVING = 1
MOST_BYTES = 1 << 16


def ask_grpc(process: ProcessRecord, asked: Mapping[str, Any], timeout: float) -> tuple[bool, str]:
    """Raises OSError, RetryLater, ValueError where there is no answer within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    port, service = int(asked["port"]), str(asked.get("service") or "")
    with open_connection(process, port, timeout) as opened:
        opened.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + request(f"localhost:{port}", service))
        message = _answer(opened, deadline)
    if message is None:
        return False, "the server has no health service, or does not know this service"
    status = status_of(message)
    return status == SERVING, STATUS_NAMES.get(status, f"status {status}")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113, section 4.1."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def request(authority: str, service: str) -> bytes:
    """The call: its header fields, and its one message."""
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", METHOD),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "trimtab"),
    )
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    headers = b"".join(b"\0" + _text(field) + _text(value) for field, value in fields)
    body = b"\0" + struct.pack(">I", len(message)) + message
    return frame(HEADERS, END_HEADERS, STREAM, headers) + frame(DATA, END_STREAM, STREAM, body)


def _text(text: str) -> bytes:
    """A string of RFC 7541, section 5.2, not compressed; before a field, 0 says: written out, not to be remembered."""
    data = text.encode()
    length, out = len(data), b""
    if length < 0x7F:
        return bytes([length]) + data
    length -= 0x7F
    while length > 0x7F:
        out += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([0x7F]) + out + bytes([length]) + data


def _varint(number: int) -> bytes:
    """Protocol Buffers, base 128."""
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def status_of(message: bytes) -> int:
    """Field 1 of HealthCheckResponse; the default of what is left out is 0."""
    offset = 0
    while offset < len(message):
        key, offset = _read_varint(message, offset)
        if key & 7 != 0:
            raise ValueError("the answer is no HealthCheckResponse")
        value, offset = _read_varint(message, offset)
        if key >> 3 == 1:
            return value
    return 0


def _read_varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while offset < len(data) and shift < 64:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset += 1
        if byte < 0x80:
            return value, offset
        shift += 7
    raise ValueError("the answer breaks off")


def _answer(opened: socket.socket, deadline: float) -> bytes | None:
    """The message of the answer; None where the server ended the call without one."""
    data = b""
    for kind, flags, stream, payload in _frames(opened, deadline):
        if kind == SETTINGS and not flags & ACK:
            opened.sendall(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            opened.sendall(frame(PING, ACK, 0, payload))
        elif kind in (GOAWAY, RST_STREAM):
            return None
        elif stream == STREAM:
            if kind == DATA:
                data += payload[1 : len(payload) - payload[0]] if flags & PADDED and payload else payload
            if kind in (DATA, HEADERS) and (flags & END_STREAM or _is_whole(data)):
                return data[5 : 5 + struct.unpack_from(">I", data, 1)[0]] if _is_whole(data) else None
    return None


def _is_whole(data: bytes) -> bool:
    return len(data) >= 5 and len(data) >= 5 + int(struct.unpack_from(">I", data, 1)[0])


def _frames(opened: socket.socket, deadline: float) -> Iterator[tuple[int, int, int, bytes]]:
    held = b""
    while True:
        while len(held) >= 9:
            length = int.from_bytes(held[:3], "big")
            if length > MOST_BYTES:
                raise ValueError("the answer is no HTTP/2")
            if len(held) < 9 + length:
                break
            kind, flags, stream = struct.unpack_from(">BBI", held, 3)
            yield kind, flags, stream & 0x7FFFFFFF, held[9 : 9 + length]
            held = held[9 + length :]
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        opened.settimeout(left)
        received = opened.recv(MOST_BYTES)
        if not received:
            return
        held += received
