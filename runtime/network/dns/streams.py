"""Questions over TCP (RFC 7766), from clients that may be slow, greedy or hostile.

Bounded in every direction: connections in all and per client, the length of a question, the answers a client does not
fetch, the questions it has under way, and the time one question may take to arrive. Bytes only; answering is the
server's.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from runtime.network.dns import wire
from runtime.network.dns.listeners import Listener
from runtime.network.dns.loop import GONE, READABLE, WRITABLE, Loop
from runtime.network.dns.wire import Malformed

MAX_CONNECTIONS = 256
MAX_CONNECTIONS_PER_CLIENT = 16
QUESTION_SECONDS = 10.0
"""How long a connection may stay without a whole question, however many bytes trickle in."""
MAX_UNSENT = 131072
"""Bytes of answers waiting for a client to read, beyond which its questions are no longer read."""
MAX_UNDER_WAY = 32
ACCEPTS_AT_ONCE = 16


@dataclass(slots=True, eq=False)
class Stream:
    """One client's connection. `ended`: it will ask no more, but may still fetch answers."""

    listener: Listener
    client: str
    link: socket.socket
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    under_way: int = 0
    events: int = READABLE
    busy: bool = False
    ended: bool = False
    closed: bool = False


Ask = Callable[[Stream, bytes, Callable[[bytes], None]], None]
"""Answer a question of a stream by calling the last argument once, now or later."""


class Streams:
    """All TCP clients. `ask` is called with each whole question."""

    def __init__(self, loop: Loop, ask: Ask, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._ask = ask
        self._clock = clock
        self._open: dict[int, Stream] = {}
        self._per_client: Counter[str] = Counter()

    def accept(self, listener: Listener) -> None:
        """Take what waits on a listener; a client over its limit is hung up on, over the total the oldest is."""
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                link, (address, *_rest) = listener.tcp.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE) and self._open:
                    self._close(next(iter(self._open.values())))
                    continue
                return
            client = listener.client(address)
            if self._per_client[client] >= MAX_CONNECTIONS_PER_CLIENT:
                link.close()
                continue
            if len(self._open) >= MAX_CONNECTIONS:
                self._close(next(iter(self._open.values())))
            self._add(Stream(listener, client, link, self._clock() + QUESTION_SECONDS))

    def close_network(self, network: str) -> None:
        """Hang up on a network's clients."""
        for stream in [each for each in self._open.values() if each.listener.network == network]:
            self._close(stream)

    def close_owner(self, owner: str) -> None:
        """Hang up on what asks within a container's namespace: an open connection would keep that alive."""
        for stream in [each for each in self._open.values() if each.listener.owner == owner]:
            self._close(stream)

    def next_deadline(self) -> float | None:
        return min((stream.deadline for stream in self._open.values()), default=None)

    def expire(self, now: float) -> None:
        for stream in [each for each in self._open.values() if each.deadline <= now]:
            self._close(stream)

    def _add(self, stream: Stream) -> None:
        stream.link.setblocking(False)
        self._open[stream.link.fileno()] = stream
        self._per_client[stream.client] += 1
        self._loop.watch(stream.link.fileno(), lambda events: self._ready(stream, events))

    def _close(self, stream: Stream) -> None:
        if stream.closed:
            return
        stream.closed = True
        del self._open[stream.link.fileno()]
        self._per_client[stream.client] -= 1
        if not self._per_client[stream.client]:
            del self._per_client[stream.client]
        self._loop.forget(stream.link.fileno())
        stream.link.close()

    def _ready(self, stream: Stream, events: int) -> None:
        if events & GONE:
            self._close(stream)
            return
        if events & READABLE:
            try:
                chunk = stream.link.recv(wire.MAX_QUERY)
            except BlockingIOError:
                chunk = None
            except OSError:
                self._close(stream)
                return
            if chunk:
                stream.received += chunk
            stream.ended = chunk == b""
        self._go_on(stream)

    def _go_on(self, stream: Stream) -> None:
        """Answer what was received, send what was answered, and wait for what is missing."""
        if stream.closed or stream.busy:  # Busy: an answer given at once, from within this very function.
            return
        stream.busy = True
        try:
            self._send(stream)
            self._read_questions(stream)
            self._send(stream)
        except (OSError, Malformed):
            self._close(stream)
        stream.busy = False
        if stream.ended and not stream.unsent and not stream.under_way:
            self._close(stream)
        self._watch_what_matters(stream)

    def _read_questions(self, stream: Stream) -> None:
        """Answer the whole questions received, as far as the client fetches its answers. Raises Malformed."""
        while len(stream.received) >= 2 and _reads_on(stream):
            (length,) = struct.unpack_from("!H", stream.received)
            if not wire.HEADER.size <= length <= wire.MAX_QUERY:
                raise Malformed(f"a question of {length} bytes")
            if len(stream.received) < 2 + length:
                return
            question = bytes(stream.received[2 : 2 + length])
            del stream.received[: 2 + length]
            stream.deadline = self._clock() + QUESTION_SECONDS
            stream.under_way += 1
            self._ask(stream, question, lambda reply: self._reply(stream, reply))

    def _reply(self, stream: Stream, reply: bytes) -> None:
        if not stream.closed:
            stream.under_way -= 1
            stream.unsent += struct.pack("!H", len(reply)) + reply
            self._go_on(stream)

    def _send(self, stream: Stream) -> None:
        with suppress(BlockingIOError):
            while stream.unsent:
                del stream.unsent[: stream.link.send(stream.unsent)]

    def _watch_what_matters(self, stream: Stream) -> None:
        if stream.closed:
            return
        reads = _reads_on(stream) and not stream.ended
        events = (READABLE if reads else 0) | (WRITABLE if stream.unsent else 0)
        if events != stream.events:
            stream.events = events
            self._loop.change(stream.link.fileno(), events)


def _reads_on(stream: Stream) -> bool:
    return len(stream.unsent) < MAX_UNSENT and stream.under_way < MAX_UNDER_WAY
