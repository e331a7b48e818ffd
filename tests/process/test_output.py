"""The monitor's pumps by themselves: nothing is lost, nothing grows, nobody holds a container for ever."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from runtime.process import frames, output
from runtime.process.input import Input
from runtime.process.loop import Loop
from runtime.process.output import Output


class Lines:
    """A log that keeps what it gets."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def write(self, stream: int, data: bytes) -> None:
        self.data += data

    def rotate_at(self, max_size: int, max_file: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def log() -> Lines:
    return Lines()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def out(loop: Loop, log: Lines) -> Iterator[Output]:
    """An output whose listeners and pipes are closed afterwards."""
    made = Output(loop, lambda: log)
    yield made
    made.close(b"")
    for descriptor in made.sources:
        os.close(descriptor)


def run_while(loop: Loop, condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while condition():
        assert time.monotonic() < deadline
        # something always happens soon: nobody may wait for ever
        loop.call_at(time.monotonic() + 0.02, tick)
        loop.run_once()


def tick() -> None:
    return None


def listener(out: Output) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    out.add_listener(theirs)
    return ours


def fill(descriptor: int) -> int:
    """Write until a pipe takes nothing more."""
    os.set_blocking(descriptor, False)
    written = 0
    while True:
        try:
            written += os.write(descriptor, b"x" * 4096)
        except BlockingIOError:
            return written


def test_a_listener_that_reads_slowly_gets_everything_in_order(loop: Loop, log: Lines, out: Output) -> None:
    reader, writer = os.pipe()
    out.add_source(1, reader)
    client = listener(out)
    client.setblocking(False)
    sent, heard = b"", b""
    for number in range(200):
        block = str(number).encode() * 3000
        sent += block
        view = memoryview(block)
        os.set_blocking(writer, False)
        while view:
            try:
                view = view[os.write(writer, view) :]
            except BlockingIOError:
                heard += take(client)
                loop.call_at(time.monotonic() + 0.01, tick)
                loop.run_once()
    while len(heard) < len(sent):
        heard += take(client)
        loop.call_at(time.monotonic() + 0.01, tick)
        loop.run_once()
    assert heard == sent == log.data
    os.close(writer)
    client.close()


def take(client: socket.socket) -> bytes:
    try:
        data = client.recv(frames.FRAME_BYTES)
    except BlockingIOError:
        return b""
    assert data[0] == frames.STDOUT
    return data[1:]


def test_while_a_listener_is_full_the_container_waits(loop: Loop, log: Lines, out: Output) -> None:
    reader, writer = os.pipe()
    out.add_source(1, reader)
    client = listener(out)
    total = 0
    for _ in range(100):
        written = fill(writer)
        total += written
        loop.call_at(time.monotonic() + 0.005, tick)
        loop.run_once()
    assert fill(writer) == 0
    assert len(log.data) < total
    assert sum(len(one.waiting) for one in out.listeners) == 1
    client.close()
    os.close(writer)


def test_a_listener_that_takes_nothing_is_let_go(
    loop: Loop, log: Lines, out: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "STALL_SECONDS", 0.1)
    reader, writer = os.pipe()
    out.add_source(1, reader)
    client = listener(out)
    deadline = time.monotonic() + 5
    while out.listeners:
        fill(writer)
        loop.call_at(time.monotonic() + 0.005, tick)
        loop.run_once()
        assert time.monotonic() < deadline
    before = len(log.data)
    fill(writer)
    run_while(loop, lambda: len(log.data) == before)
    client.close()
    os.close(writer)


def test_a_farewell_follows_everything_else(loop: Loop, log: Lines, out: Output) -> None:
    reader, writer = os.pipe()
    out.add_source(2, reader)
    client = listener(out)
    os.write(writer, b"last words")
    os.close(writer)
    out.drain()
    out.close(frames.frame(frames.ENDED, b"{}"))
    assert client.recv(100) == frames.frame(frames.STDERR, b"last words")
    assert client.recv(100) == frames.frame(frames.ENDED, b"{}")
    assert client.recv(100) == b""
    assert log.closed
    client.close()


def test_draining_does_not_wait_for_a_stranger_who_holds_the_pipe(loop: Loop, log: Lines, out: Output) -> None:
    reader, writer = os.pipe()
    out.add_source(1, reader)
    os.write(writer, b"text")
    out.drain()
    assert log.data == b"text"
    os.close(writer)


def test_input_waits_for_the_container_and_then_ends(loop: Loop, log: Lines, out: Output) -> None:
    reader, writer = os.pipe()
    into = Input(loop, out, writer)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    into.add_client(theirs, stdin=True)
    ours.setblocking(False)
    for _ in range(4):
        ours.send(frames.frame(frames.STDIN, b"y" * 40_000))
    ours.send(frames.frame(frames.STDIN_CLOSED))
    run_while(loop, lambda: not into.waiting)
    assert len(into.waiting) <= frames.FRAME_BYTES
    os.set_blocking(reader, False)
    heard = 0
    deadline = time.monotonic() + 5
    while True:
        assert time.monotonic() < deadline
        loop.call_at(time.monotonic() + 0.005, tick)
        loop.run_once()
        try:
            data = os.read(reader, 65536)
        except BlockingIOError:
            continue
        if not data:
            break
        heard += len(data)
    assert heard == 160_000
    ours.close()
    run_while(loop, lambda: bool(into.clients))
    os.close(reader)


def test_a_client_without_leave_to_write_writes_nothing(loop: Loop, log: Lines, out: Output) -> None:
    reader, writer = os.pipe()
    into = Input(loop, out, writer)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    into.add_client(theirs, stdin=False)
    ours.send(frames.frame(frames.STDIN, b"no"))
    ours.close()
    run_while(loop, lambda: bool(into.clients))
    into.close()
    assert os.read(reader, 10) == b""
    os.close(reader)
