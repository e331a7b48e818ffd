"""The client's half of attach: a container's streams on the caller's descriptors; several clients at once may."""

from __future__ import annotations

import json
import os
import select
import socket

from runtime.process import frames
from runtime.process.asking import open_monitor, talk
from runtime.process.copying import raw_terminal
from runtime.process.paths import ContainerPaths
from runtime.process.records import ExitRecord


def attach(
    paths: ContainerPaths, stdin: int | None, stdout: int, stderr: int, detach_keys: bytes = b""
) -> ExitRecord | None:
    """Copy until the container ends (its exit record) or the detach keys are typed (None)."""
    with open_monitor(paths, "attach") as channel:
        message, _ = talk(channel, paths.name, {"verb": "attach", "stdin": stdin is not None})
        keys = detach_keys if message["terminal"] else b""
        if stdin is None or not message["terminal"]:
            return _copy(channel, stdin, (stdout, stderr), keys)
        with raw_terminal(stdin, lambda rows, columns: _send_size(channel, rows, columns)):
            return _copy(channel, stdin, (stdout, stderr), keys)


def _send_size(channel: socket.socket, rows: int, columns: int) -> None:
    channel.send(frames.frame(frames.SIZE, frames.SIZE_FORMAT.pack(rows, columns)))


def _copy(channel: socket.socket, stdin: int | None, outputs: tuple[int, int], detach_keys: bytes) -> ExitRecord | None:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    if stdin is not None:
        poll.register(stdin, select.POLLIN)
    typed = b""
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if channel.fileno() in ready:
            data = channel.recv(frames.FRAME_BYTES)
            if not data:
                return None
            if data[0] == frames.ENDED:
                return ExitRecord(**json.loads(data[1:]))
            _write(outputs[data[0] - frames.STDOUT], data[1:])
        if stdin is not None and stdin in ready:
            data = os.read(stdin, frames.FRAME_BYTES - 1)
            typed = (typed + data)[-len(detach_keys) :] if detach_keys else b""
            if detach_keys and typed == detach_keys:
                return None
            channel.send(frames.frame(frames.STDIN, data) if data else frames.frame(frames.STDIN_CLOSED))
            if not data:
                poll.unregister(stdin)
                stdin = None


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
