"""What a container reads, in the monitor: from attached clients to its standard input or its terminal.

While the container does not read, nobody is asked for more: at most one frame waits here.
"""

from __future__ import annotations

import contextlib
import os
import socket

from runtime.kernel import terminal
from runtime.process import frames
from runtime.process.loop import WRITE, Loop
from runtime.process.output import Listener, Output


class Input:
    """The writing end of a container's standard input (-1: none), and the clients that may feed it."""

    def __init__(self, loop: Loop, output: Output, descriptor: int) -> None:
        self.loop = loop
        self.output = output
        self.descriptor = -1
        self.is_terminal = False
        self.clients: dict[socket.socket, tuple[Listener, bool]] = {}
        self.waiting = b""
        self.ending = False
        self.set_target(descriptor, is_terminal=False)

    def set_target(self, descriptor: int, *, is_terminal: bool) -> None:
        """Where input goes from now on; the descriptor is owned."""
        self.descriptor = descriptor
        self.is_terminal = is_terminal
        if descriptor >= 0:
            os.set_blocking(descriptor, False)

    def add_client(self, connection: socket.socket, *, stdin: bool) -> None:
        """Attach a connection: it hears what the container writes and, with `stdin`, may write to it."""
        listener = self.output.add_listener(connection.dup())
        self.clients[connection] = (listener, stdin)
        if not self.waiting:
            self._watch(connection)

    def _watch(self, connection: socket.socket) -> None:
        self.loop.watch(connection.fileno(), lambda: self._on_frame(connection))

    def _on_frame(self, connection: socket.socket) -> None:
        listener, may_write = self.clients[connection]
        try:
            data = connection.recv(frames.FRAME_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.loop.forget(connection.fileno())
            del self.clients[connection]
            connection.close()
            self.output.remove_listener(listener)
        elif data[0] == frames.SIZE and len(data) == 1 + frames.SIZE_FORMAT.size:
            self.resize(*frames.SIZE_FORMAT.unpack(data[1:]))
        elif may_write and data[0] == frames.STDIN:
            self.waiting += data[1:]
            self._write()
        elif may_write and data[0] == frames.STDIN_CLOSED:
            self.ending = True
            self._write()

    def _write(self) -> None:
        try:
            if self.waiting and self.descriptor >= 0:
                self.waiting = self.waiting[os.write(self.descriptor, self.waiting) :]
        except BlockingIOError:
            pass
        except OSError:
            # EPIPE, EIO: the container has closed its input
            self.waiting = b""
        if self.descriptor < 0:
            self.waiting = b""
        self._pause() if self.waiting else self._resume()

    def _pause(self) -> None:
        for connection in self.clients:
            self.loop.forget(connection.fileno())
        self.loop.watch(self.descriptor, self._write, WRITE)

    def _resume(self) -> None:
        self.loop.forget(self.descriptor)
        for connection in self.clients:
            self._watch(connection)
        # a terminal has no end of input but the one that is typed
        if self.ending and not self.is_terminal:
            self.close()

    def resize(self, rows: int, columns: int) -> None:
        """Tell the container's terminal its size."""
        if self.is_terminal and self.descriptor >= 0:
            with contextlib.suppress(OSError):
                terminal.set_size(self.descriptor, rows, columns)

    def close(self) -> None:
        """Let the container see the end of its input."""
        if self.descriptor >= 0:
            self.loop.forget(self.descriptor)
            os.close(self.descriptor)
            self.descriptor = -1
