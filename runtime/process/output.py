"""What a container writes, in the monitor: from its pipes or its terminal to the log and to whoever is attached.

Read only while everybody keeps up: a slow disk or a slow client slows the container down, and nothing grows. A client
that takes nothing for `STALL_SECONDS` is let go, so that it cannot hold the container for ever.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable

from runtime.process import frames
from runtime.process.log_write import Log
from runtime.process.loop import WRITE, Loop

READ_BYTES = frames.FRAME_BYTES - 1
"""A pipe holds no more, so one read empties it."""

STALL_SECONDS = 10.0


class Listener:
    """The writing side of an attached connection, with what it could not take yet: one frame, more only at the end."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.waiting: list[bytes] = []
        self.stalled_since = 0.0


class Output:
    """Reads a container's streams and passes them on."""

    def __init__(self, loop: Loop, open_log: Callable[[], Log]) -> None:
        self.loop = loop
        self.open_log = open_log
        self.opened: Log | None = None
        self.sources: dict[int, int] = {}
        self.listeners: list[Listener] = []

    @property
    def log(self) -> Log:
        """The log, opened at its first use."""
        if self.opened is None:
            self.opened = self.open_log()
        return self.opened

    def add_source(self, stream: int, descriptor: int) -> None:
        """Read `stream` (1 or 2) from a pipe or a terminal, and own the descriptor."""
        if descriptor < 0:
            return
        os.set_blocking(descriptor, False)
        self.sources[descriptor] = stream
        self._watch(descriptor)

    def _watch(self, descriptor: int) -> None:
        self.loop.watch(descriptor, lambda: self._read(descriptor))

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # EIO: nobody has the terminal open any more
            data = b""
        if not data:
            self._end(descriptor)
            return
        stream = self.sources[descriptor]
        self.log.write(stream, data)
        if self.listeners:
            self._pass_on(frames.frame(stream, data))

    def _end(self, descriptor: int) -> None:
        self.loop.forget(descriptor)
        del self.sources[descriptor]
        os.close(descriptor)

    def drain(self) -> None:
        """Take what is still in the pipes; never wait for a stranger who holds one open."""
        for descriptor in list(self.sources):
            while descriptor in self.sources and select.select([descriptor], [], [], 0)[0]:
                self._read(descriptor)

    # listeners

    def add_listener(self, channel: socket.socket) -> Listener:
        """Send every frame to `channel` from now on, and own it."""
        channel.setblocking(False)
        listener = Listener(channel)
        self.listeners.append(listener)
        return listener

    def _pass_on(self, data: bytes) -> None:
        stalled = False
        for listener in list(self.listeners):
            if not self._give(listener, data):
                stalled = True
        if stalled:
            for descriptor in self.sources:
                self.loop.forget(descriptor)

    def _give(self, listener: Listener, data: bytes) -> bool:
        """Whether the listener took the frame, or is gone; else it is kept until it can."""
        try:
            if not listener.waiting:
                listener.channel.send(data, socket.MSG_NOSIGNAL)
                return True
        except BlockingIOError:
            pass
        except OSError:
            self.remove_listener(listener)
            return True
        self._keep(listener, data)
        return False

    def _keep(self, listener: Listener, data: bytes) -> None:
        listener.waiting.append(data)
        listener.stalled_since = time.monotonic()
        self.loop.watch(listener.channel.fileno(), lambda: self._retry(listener), WRITE)
        self.loop.call_at(listener.stalled_since + STALL_SECONDS, self._drop_stalled)

    def _retry(self, listener: Listener) -> None:
        try:
            while listener.waiting:
                listener.channel.send(listener.waiting[0], socket.MSG_NOSIGNAL)
                del listener.waiting[0]
        except BlockingIOError:
            return
        except OSError:
            self.remove_listener(listener)
            return
        self.loop.forget(listener.channel.fileno())
        self._resume()

    def _resume(self) -> None:
        if not any(listener.waiting for listener in self.listeners):
            for descriptor in self.sources:
                self._watch(descriptor)

    def _drop_stalled(self) -> None:
        before = time.monotonic() - STALL_SECONDS
        for listener in list(self.listeners):
            if listener.waiting and listener.stalled_since <= before:
                self.remove_listener(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Send nothing more to a listener. One that is gone already is no error."""
        if listener in self.listeners:
            self.listeners.remove(listener)
            self.loop.forget(listener.channel.fileno())
            listener.channel.close()
            self._resume()

    def close(self, farewell: bytes) -> None:
        """Close the log; let every listener go with a last frame."""
        if self.opened is not None:
            self.opened.close()
        for listener in self.listeners:
            self.loop.forget(listener.channel.fileno())
            listener.channel.settimeout(STALL_SECONDS)
            with contextlib.suppress(OSError):
                for data in (*listener.waiting, farewell):
                    listener.channel.send(data, socket.MSG_NOSIGNAL)
            listener.channel.close()
        self.listeners.clear()
