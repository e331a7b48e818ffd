"""Clients that stall, lie, flood or leave: nobody else notices."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from reconciler.client.frames import Decoder, Garbled, frame
from runtime.process.client import read_process
from tests.api.conftest import Asking

pytestmark = pytest.mark.kernel


@contextmanager
def connected(api: Asking, timeout: float = 30.0) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(timeout)
        channel.connect(str(api.daemon.socket))
        yield channel


def memory(api: Asking) -> int:
    """Bytes that the daemon has resident."""
    return int(Path(f"/proc/{api.daemon.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def connections(api: Asking) -> int:
    """Descriptors that are sockets. Of the store's file SQLite keeps some for the next to open it (unix locks)."""
    found = 0
    for link in Path(f"/proc/{api.daemon.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found += str(link.readlink()).startswith("socket:")
    return found


def test_garbage_is_answered_or_dropped_and_never_a_fault(api: Asking) -> None:
    chance = random.Random(1)
    heads = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/commands HTTP/1.1\r\nHost: x\r\nCommand-Length: 99999999999\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/commands HTTP/1.1\r\nHost: x\r\nCommand-Length: x\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/exec/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n",
        b"\r\n" * 1000,
        *(bytes(chance.randrange(256) for _ in range(chance.randrange(1, 3000))) for _ in range(30)),
    ]
    for head in heads:
        with connected(api) as channel:
            channel.sendall(head)
            channel.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := channel.recv(65536):
                answer += piece
            assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.1 2")), (head[:80], answer[:300])
    assert api.ask("GET", "/v1/health")["status"] == "ok"


def test_clients_that_stall_keep_nobody_waiting(api: Asking) -> None:
    with ExitStack() as stack:
        for number in range(150):
            channel = stack.enter_context(connected(api))
            if number % 3 == 0:
                channel.sendall(b"GET /v1/hea")
            elif number % 3 == 1:
                channel.sendall(b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        began = time.monotonic()
        assert api.ask("GET", "/v1/health")["status"] == "ok"
        assert api.engine.ok("get", "-o", "name").lines
        assert time.monotonic() - began < 10


def test_a_connection_without_a_request_is_closed(api: Asking) -> None:
    with connected(api, 40) as silent, connected(api, 40) as slow:
        slow.sendall(b"GET /v1/health HTTP/1.1\r\nHos")
        assert silent.recv(100) == b""
        assert not slow.recv(100).startswith(b"HTTP/1.1 200")


def test_a_body_that_is_too_large_is_refused_before_it_is_kept(api: Asking) -> None:
    before = memory(api)
    with connected(api) as channel:
        channel.sendall(b"POST /v1/apply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        try:
            for _ in range(200):
                channel.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        with suppress(ConnectionResetError):
            assert b" 413 " in channel.recv(1000)
    assert memory(api) - before < 200 << 20
    api.problem("POST", "/v1/commands", b"{}" + b" " * (65 << 20), status=413)


def test_a_daemon_carries_out_no_command_that_is_not_for_others(api: Asking) -> None:
    for line in ("daemon", "schema --output /tmp/x", "exec db id", "system install", "context ls"):
        words = line.split()
        assert "does not carry out" in api.problem("POST", "/v1/commands", {"words": words}, status=409)["detail"]
    api.problem("POST", "/v1/commands", {"words": []})
    api.problem("POST", "/v1/commands", {"words": ["get"], "directory": "here"})


def test_a_command_reads_no_file_of_the_daemons(api: Asking) -> None:
    status, kind, text = api.raw("POST", "/v1/commands", {"words": ["validate", "--env-file", "/etc/passwd", "/etc"]})
    assert (status, kind) == (200, "application/vnd.trimtab.stream")
    told = [json.loads(payload) for number, payload in Decoder().feed(text) if number == 3]
    assert told[-1] == {"want": ["/etc/passwd"]}


def test_an_apply_goes_on_when_its_client_is_killed(api: Asking) -> None:
    text = "".join(
        "---\napiVersion: trimtab/v1\nkind: Container\n"
        f"metadata: {{name: left{number}}}\nspec: {{image: busybox, command: [sleep, '1000'], stop_grace_period: 0s}}\n"
        for number in range(6)
    )
    api.engine.write("left.yaml", text)
    applying = api.engine.start("apply", "--parallel", "1", "--set", "left", "left.yaml")
    while "left" not in applying.so_far().out:
        assert applying.process.poll() is None
    applying.process.kill()
    applying.wait()
    deadline = time.monotonic() + 20
    while api.engine.run("diff", "--set", "left", "left.yaml").code != 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    api.engine.ok("delete", "--set", "left")


def test_nothing_is_left_open_by_clients_that_leave(api: Asking) -> None:
    api.raw("GET", "/v1/health")
    before = connections(api)
    for _ in range(40):
        with connected(api) as channel:
            channel.sendall(b"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n")
            channel.recv(100)
        with connected(api) as channel:
            channel.sendall(b"GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n")
            channel.recv(100)
    deadline = time.monotonic() + 20
    while connections(api) > before + 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_frames_that_are_none_are_noticed() -> None:
    assert list(Decoder().feed(frame(1, b"ab") + frame(2, b""))) == [(1, b"ab"), (2, b"")]
    decoder = Decoder()
    whole = frame(3, b"x" * 1000)
    assert [each for byte in whole for each in decoder.feed(bytes((byte,)))] == [(3, b"x" * 1000)]
    for wrong in (b"\x09\x00\x00\x00\x01x", b"\x01\xff\xff\xff\xff"):
        with pytest.raises(Garbled):
            list(Decoder().feed(wrong))


def test_containers_were_never_touched(api: Asking) -> None:
    found = read_process(api.engine.layout, "db")
    assert found is not None and found.phase.value == "running"
