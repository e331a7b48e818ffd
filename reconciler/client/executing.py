"""`trimtab exec` through a daemon: prepare, start, and join our streams to the connection until the process ends."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from socket import socket
from typing import Any

from reconciler.client.dial import dial
from reconciler.client.frames import CONTROL, STDERR, STDIN, STDOUT, Decoder, frame
from reconciler.client.host import Host
from reconciler.client.http import Answer, BadAnswer, ask, request

READ_BYTES = 1 << 16


def execute(host: Host, parameters: Mapping[str, Any], root: str) -> int:
    """The exit code. Raises Problem, BadAnswer, Unreachable, OSError; ValueError for streams that do not fit."""
    terminal = not parameters["detach"] and wants_terminal(parameters)
    passes_input = parameters["interactive"] if parameters["interactive"] is not None else terminal
    name = parameters["name"].replace("/", "%2F")
    with dial(host) as channel:
        made: Any = ask(
            channel,
            "POST",
            f"/v1/containers/{name}/exec",
            _body(parameters, terminal) | ({} if host.chosen else {"root": root}),
        )
    if parameters["detach"]:
        print(made["pid"])
        return 0
    with dial(host) as channel:
        head = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Length": "0"}
        channel.sendall(request("POST", f"/v1/exec/{made['id']}", head))
        answer = Answer(channel)
        answer.raise_problem()
        with raw_terminal(channel) if terminal else nothing():
            return _join(channel, answer.rest(), passes_input=passes_input)


def wants_terminal(parameters: Mapping[str, Any]) -> bool:
    """Raises ValueError for `-t` without one."""
    if parameters["tty"] is None:
        return parameters["interactive"] is not False and sys.stdin.isatty() and sys.stdout.isatty()
    if parameters["tty"] and not sys.stdin.isatty():
        raise ValueError("exec: standard input is not a terminal; leave out -t")
    return bool(parameters["tty"])


def _body(parameters: Mapping[str, Any], terminal: bool) -> dict[str, object]:
    pairs = [_pair(word) for word in parameters["environment"]]
    if terminal and not any(pair.startswith("TERM=") for pair in pairs if pair):
        # the container's own, where it has one, is set by the daemon
        pairs.append(f"TERM={os.environ.get('TERM') or 'xterm'}")
    made: dict[str, object] = {
        "arguments": list(parameters["arguments"]),
        "environment": [pair for pair in pairs if pair],
        "terminal": terminal,
        "detach": bool(parameters["detach"]),
    }
    if parameters["user"] is not None:
        made["user"] = parameters["user"]
    if parameters["workdir"] is not None:
        made["workdir"] = parameters["workdir"]
    if terminal:
        size = os.get_terminal_size(sys.stdin.fileno())
        made |= {"rows": max(1, size.lines), "columns": max(1, size.columns)}
    return made


def _pair(word: str) -> str:
    """`NAME=VALUE`; a name alone passes our own on, and nothing where it is not set."""
    name, equals, _ = word.partition("=")
    if not name:
        raise ValueError(f"exec: {word!r} sets no variable; write -e NAME=VALUE")
    return word if equals else f"{name}={os.environ[name]}" if name in os.environ else ""


def _join(channel: socket, first: bytes, *, passes_input: bool) -> int:
    decoder, stdin = Decoder(), sys.stdin.fileno() if passes_input else -1
    if stdin < 0:
        channel.sendall(frame(CONTROL, b'{"eof": true}'))
    code = _write(decoder, first)
    while code is None:
        ready, _, _ = select.select([channel, *([stdin] if stdin >= 0 else [])], [], [])
        if channel in ready:
            data = channel.recv(READ_BYTES)
            if not data:
                raise BadAnswer("it ended early")
            code = _write(decoder, data)
        elif stdin in ready:
            data = os.read(stdin, READ_BYTES)
            channel.sendall(frame(STDIN, data) if data else frame(CONTROL, b'{"eof": true}'))
            stdin = stdin if data else -1
    return code


def _write(decoder: Decoder, data: bytes) -> int | None:
    """The exit code, when it has come."""
    streams = {STDOUT: sys.stdout.buffer, STDERR: sys.stderr.buffer}
    for kind, payload in decoder.feed(data):
        if kind == CONTROL:
            return int(json.loads(payload)["exit"])
        streams[kind].write(payload)
        streams[kind].flush()
    return None


@contextmanager
def nothing() -> Iterator[None]:
    yield


@contextmanager
def raw_terminal(channel: socket) -> Iterator[None]:
    """Every key goes to the other side meanwhile, and every change of size."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def resized(*_: object) -> None:
        size = os.get_terminal_size(descriptor)
        channel.sendall(frame(CONTROL, json.dumps({"resize": [size.lines, size.columns]}).encode()))

    heard = signal.signal(signal.SIGWINCH, resized)
    # what was typed ahead is kept
    tty.setraw(descriptor, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, heard)
