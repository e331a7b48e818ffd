"""The gRPC health check against frames as servers send them, and against what is no gRPC at all."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.probes import grpc
from reconciler.probes.grpc import ACK, DATA, END_STREAM, GOAWAY, HEADERS, PREFACE, SETTINGS, ask_grpc, frame, status_of
from runtime.process.records import Phase, ProcessRecord

HERE = ProcessRecord("here", Phase.RUNNING, 1, 1, 0.0)
Answer = Callable[[socket.socket, bytes], None]


@pytest.fixture(autouse=True)
def in_this_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the test stands beside the probe, not in a container."""

    def connect(process: ProcessRecord, port: int, timeout: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout)

    monkeypatch.setattr(grpc, "open_connection", connect)


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    """Takes one call: `answer` gets the connection and the request as it came."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while len(received) < len(PREFACE) or received.count(b"application/grpc") == 0:
                    received += connection.recv(65536)
                answer(connection, received)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def message(body: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(body)) + body


def saying(*frames: bytes) -> Answer:
    return lambda connection, received: connection.sendall(b"".join(frames))


OPENING = frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)) + frame(SETTINGS, ACK, 0, b"")
FIELDS = frame(HEADERS, 4, 1, b"\x88")
TRAILERS = frame(HEADERS, 4 | END_STREAM, 1, b"\x88")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (saying(OPENING, FIELDS, frame(DATA, 0, 1, message(b"\x08\x01")), TRAILERS), (True, "SERVING")),
        (saying(OPENING, FIELDS, frame(DATA, 0, 1, message(b"\x08\x02")), TRAILERS), (False, "NOT_SERVING")),
        (saying(OPENING, FIELDS, frame(DATA, 0, 1, message(b"")), TRAILERS), (False, "UNKNOWN")),
        (
            saying(OPENING, FIELDS, frame(DATA, 0, 1, message(b"\x08\x01")[:4]), frame(DATA, 0, 1, b"\x02\x08\x01")),
            (True, "SERVING"),
        ),
        (saying(OPENING, TRAILERS), (False, "the server has no health service, or does not know this service")),
        (
            saying(OPENING, frame(GOAWAY, 0, 0, b"\0" * 8)),
            (False, "the server has no health service, or does not know this service"),
        ),
        (saying(), (False, "the server has no health service, or does not know this service")),
    ],
)
def test_what_a_server_says(answer: Answer, expected: tuple[bool, str]) -> None:
    with server(answer) as port:
        assert ask_grpc(HERE, {"port": port}, 5.0) == expected


def test_the_service_asked_about_and_the_path_are_in_the_request() -> None:
    seen: list[bytes] = []

    def answer(connection: socket.socket, received: bytes) -> None:
        seen.append(received)
        saying(OPENING, FIELDS, frame(DATA, END_STREAM, 1, message(b"\x08\x01")))(connection, received)

    with server(answer) as port:
        assert ask_grpc(HERE, {"port": port, "service": "shop.Cart"}, 5.0)[0]
    (received,) = seen
    assert received.startswith(PREFACE) and b"/grpc.health.v1.Health/Check" in received
    assert received.endswith(message(b"\x0a\x09shop.Cart"))


def test_what_speaks_no_http2_is_told() -> None:
    with server(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port, pytest.raises(ValueError, match="no HTTP/2"):
        ask_grpc(HERE, {"port": port}, 5.0)


def test_a_server_that_says_nothing_is_given_up() -> None:
    def silent(connection: socket.socket, received: bytes) -> None:
        connection.settimeout(10)
        while connection.recv(65536):
            pass

    with server(silent) as port, pytest.raises(TimeoutError):
        ask_grpc(HERE, {"port": port}, 0.2)


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_no_message_can_break_the_reader(body: bytes) -> None:
    try:
        assert status_of(body) >= 0
    except ValueError as error:
        assert "answer" in str(error)
