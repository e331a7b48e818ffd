"""Questions that are not ours, asked of the host's resolvers (or a container's own) on the client's behalf.

Each goes out from a socket of its own, connected to the resolver, under a fresh id: port and id are unguessable and
only that resolver's packets arrive. A resolver that stays silent or refuses is followed by the next, and asked last
for a while. A client that came over TCP is served over TCP where the resolver can. What waits is bounded, in all and
per client. Keeps no answers: the host's resolvers do.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runtime.network.dns import wire
from runtime.network.dns.handed import Askers
from runtime.network.dns.loop import READABLE, WRITABLE, Loop
from runtime.network.dns.record_files import INSIDE_ADDRESS
from runtime.network.dns.resolvers import HostResolvers, socket_address
from runtime.network.dns.wire import Code, Query

MAX_WAITING = 512
MAX_WAITING_PER_CLIENT = 128
ATTEMPT_SECONDS = 1.5
MIN_ATTEMPTS, MAX_ATTEMPTS = 3, 6
SILENT_SECONDS = 30.0
"""How long a resolver that failed is asked last."""
NEXT_PLEASE = frozenset((Code.SERVFAIL, Code.NOTIMP, Code.REFUSED))
"""Replies that say something about the resolver, not about the name."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: which resolver, over what."""

    resolver: str
    over_tcp: bool


@dataclass(slots=True, eq=False)
class Waiting:
    """One client's question under way. `attempts` are those still to come, `refusal` the last unhappy reply.

    With `askers` it is asked from within the client's own network namespace.
    """

    query: Query
    packet: bytes
    client: str
    reply: Callable[[bytes], None]
    over_tcp: bool
    key: object
    attempts: list[Attempt]
    attempt: Attempt = Attempt("", False)
    id: int = 0
    link: socket.socket | None = None
    deadline: float = 0.0
    unsent: bytes = b""
    received: bytearray = field(default_factory=bytearray)
    refusal: bytes | None = None
    askers: Askers | None = None


class Forwarder:
    """Asks other resolvers and hands their replies to the clients that wait for them."""

    def __init__(
        self, loop: Loop, host: HostResolvers, is_own: Callable[[str], bool], clock: Callable[[], float]
    ) -> None:
        self._loop = loop
        self._host = host
        self._is_own = is_own
        self._clock = clock
        self._waiting: dict[object, Waiting] = {}
        self._per_client: Counter[str] = Counter()
        self._failed_at: dict[str, float] = {}

    def forward(
        self,
        packet: bytes,
        query: Query,
        resolvers: Sequence[str],
        client: str,
        reply: Callable[[bytes], None],
        *,
        over_tcp: bool,
        key: object,
        askers: Askers | None = None,
    ) -> None:
        """Ask on behalf of `client`; `reply` is called once, perhaps at once. A repetition (same `key`) is ignored."""
        if key in self._waiting:
            return
        attempts = self._plan(resolvers, over_tcp, askers is not None)
        full = len(self._waiting) >= MAX_WAITING or self._per_client[client] >= MAX_WAITING_PER_CLIENT
        if full or not attempts:
            reply(_failure(query))
            return
        waiting = Waiting(query, packet, client, reply, over_tcp, key, attempts, askers=askers)
        self._waiting[key] = waiting
        self._per_client[client] += 1
        self._try_next(waiting)

    def next_deadline(self) -> float | None:
        return min((waiting.deadline for waiting in self._waiting.values()), default=None)

    def expire(self, now: float) -> None:
        """Go on from the resolvers whose time is over."""
        for waiting in [each for each in self._waiting.values() if each.deadline <= now]:
            self._failed_at[waiting.attempt.resolver] = now
            self._try_next(waiting)

    def _plan(self, resolvers: Sequence[str], over_tcp: bool, within: bool) -> list[Attempt]:
        """Resolvers that answered lately first, never ourselves; each over TCP first for a client that came so."""
        own = (INSIDE_ADDRESS,) if within else ()
        usable = [each for each in resolvers or self._host.read() if not (each in own or self._is_own(each))]
        oldest = self._clock() - SILENT_SECONDS
        usable.sort(key=lambda each: self._failed_at.get(each, oldest) > oldest)
        if not usable:
            return []
        if over_tcp:
            return [Attempt(each, tcp) for tcp in (True, False) for each in usable][:MAX_ATTEMPTS]
        count = min(max(len(usable), MIN_ATTEMPTS), MAX_ATTEMPTS)
        return [Attempt(usable[at % len(usable)], False) for at in range(count)]

    def _try_next(self, waiting: Waiting) -> None:
        self._hang_up(waiting)
        while waiting.attempts:
            waiting.attempt = waiting.attempts.pop(0)
            try:
                self._ask(waiting)
                return
            except OSError:
                self._failed_at[waiting.attempt.resolver] = self._clock()
                self._hang_up(waiting)
        self._finish(waiting, waiting.refusal or _failure(waiting.query))

    def _ask(self, waiting: Waiting) -> None:
        over_tcp = waiting.attempt.over_tcp
        family, address = socket_address(waiting.attempt.resolver)
        kind = socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM
        if waiting.askers is not None:
            link = waiting.link = waiting.askers.take((family, kind))
        else:
            link = waiting.link = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        waiting.id = int.from_bytes(os.urandom(2), "big")
        message = struct.pack("!H", waiting.id) + waiting.packet[2:]
        waiting.deadline = self._clock() + ATTEMPT_SECONDS
        if over_tcp:
            waiting.unsent = struct.pack("!H", len(message)) + message
            waiting.received.clear()
            link.setblocking(False)
            link.connect_ex(address)
            self._loop.watch(link.fileno(), lambda events: self._stream_ready(waiting, events), WRITABLE)
            return
        link.connect(address)
        link.send(message)
        self._loop.watch(link.fileno(), lambda _: self._datagram_ready(waiting))

    def _datagram_ready(self, waiting: Waiting) -> None:
        assert waiting.link is not None
        try:
            reply = waiting.link.recv(wire.MAX_MESSAGE)
        except BlockingIOError:
            return
        except OSError:  # ECONNREFUSED and its like, told by ICMP.
            self._failed_at[waiting.attempt.resolver] = self._clock()
            self._try_next(waiting)
            return
        if _answers(reply, waiting):
            self._take(waiting, reply)

    def _stream_ready(self, waiting: Waiting, events: int) -> None:
        assert waiting.link is not None
        try:
            if waiting.unsent:
                waiting.unsent = waiting.unsent[waiting.link.send(waiting.unsent) :]
                if not waiting.unsent:
                    self._loop.change(waiting.link.fileno(), READABLE)
                return
            chunk = waiting.link.recv(wire.MAX_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        waiting.received += chunk
        reply = _whole_message(waiting.received)
        if reply is not None and _answers(reply, waiting):
            self._take(waiting, reply)
        elif reply is not None or not chunk:
            self._try_next(waiting)

    def _take(self, waiting: Waiting, reply: bytes) -> None:
        """Pass a resolver's reply on, unless another resolver may do better."""
        code = struct.unpack_from("!H", reply, 2)[0] & wire.RCODE_MASK
        if code in NEXT_PLEASE:
            waiting.refusal = reply
            asked = waiting.attempt.resolver
            waiting.attempts = [each for each in waiting.attempts if each.resolver != asked]
            self._try_next(waiting)
            return
        self._failed_at.pop(waiting.attempt.resolver, None)
        self._finish(waiting, reply)

    def _finish(self, waiting: Waiting, reply: bytes) -> None:
        self._hang_up(waiting)
        del self._waiting[waiting.key]
        self._per_client[waiting.client] -= 1
        if not self._per_client[waiting.client]:
            del self._per_client[waiting.client]
        whole = waiting.packet[:2] + reply[2:]
        waiting.reply(whole if waiting.over_tcp else wire.truncated(whole, waiting.query.payload))

    def _hang_up(self, waiting: Waiting) -> None:
        if waiting.link is not None:
            self._loop.forget(waiting.link.fileno())
            if waiting.askers is not None:
                waiting.askers.give_back(waiting.link)
            else:
                waiting.link.close()
            waiting.link = None


def _answers(reply: bytes, waiting: Waiting) -> bool:
    """Whether a packet is the reply to what we asked: id and question are ours (letters' case aside)."""
    if len(reply) < wire.HEADER.size:
        return False
    ident, flags, questions, *_ = wire.HEADER.unpack_from(reply)
    if ident != waiting.id or not flags & wire.FLAG_QR:
        return False
    if questions == 0:  # Some refuse with a bare header.
        return bool(flags & wire.RCODE_MASK)
    echo = waiting.query.echo
    return reply[wire.HEADER.size : wire.HEADER.size + len(echo)].lower() == echo.lower()


def _whole_message(received: bytearray) -> bytes | None:
    """The first length-prefixed message, once all of it is there."""
    if len(received) < 2:
        return None
    (length,) = struct.unpack_from("!H", received)
    return bytes(received[2 : 2 + length]) if len(received) >= 2 + length else None


def _failure(query: Query) -> bytes:
    return wire.write_reply(query, Code.SERVFAIL, limit=wire.MAX_PAYLOAD, authoritative=False)
