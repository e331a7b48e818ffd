"""The far end of ssh://: bytes between our standard streams and a daemon's socket, until one side has ended."""

from __future__ import annotations

import os
import select
import socket
import sys

READ_BYTES = 1 << 16


def connected(path: str) -> socket.socket:
    """Raises OSError where nobody listens."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        channel.connect(path)
    except OSError:
        channel.close()
        raise
    return channel


def join(channel: socket.socket) -> None:
    """Raises OSError where one side breaks off."""
    with channel:
        source, target = sys.stdin.fileno(), sys.stdout.fileno()
        waiting: list[socket.socket | int] = [channel, source]
        while True:
            ready, _, _ = select.select(waiting, [], [])
            if channel in ready:
                data = channel.recv(READ_BYTES)
                if not data:
                    return
                _write(target, data)
            if source in ready:
                data = os.read(source, READ_BYTES)
                if data:
                    channel.sendall(data)
                else:
                    # the client has left; what it asked for may still be answered
                    waiting.remove(source)
                    channel.shutdown(socket.SHUT_WR)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
