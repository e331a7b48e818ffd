"""The DNS server: one detached process per engine, answering while the engine's own processes are down.

`python -m runtime.network.dns.server DIRECTORY RESOLV_CONF [PID STARTED]` returns once the server it left behind
answers, or prints why there is none. PID is the server it takes over from: killed only when this one is ready, so
that few clients notice. The server holds a lock, follows the record files, answers at every network's gateway and at
the sockets it was handed of containers' own namespaces, and forwards the rest. It needs no engine: its only inputs are
files and packets. It ends when its directory is removed.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from ipaddress import ip_interface
from pathlib import Path

from runtime.kernel.prctl import set_name
from runtime.kernel.process import send_signal, start_time
from runtime.network.dns import wire
from runtime.network.dns.answers import Forward, answer
from runtime.network.dns.control import LOCK_FILE, Control, Status, write_identity
from runtime.network.dns.forwarder import Forwarder
from runtime.network.dns.handed import Inside
from runtime.network.dns.listeners import Listener, Listeners
from runtime.network.dns.loop import Loop, until
from runtime.network.dns.privileges import drop_privileges
from runtime.network.dns.record_files import NETWORKS
from runtime.network.dns.resolvers import HostResolvers
from runtime.network.dns.streams import Stream, Streams
from runtime.network.dns.version import code_version
from runtime.network.dns.watch import Watcher
from runtime.network.dns.zone import Names, View

BATCH = 64
"""Packets read from one socket before its neighbours get their turn."""
MAX_TOLD_FAULTS = 20
LOG_FILE = "server.log"
TAKE_OVER_SECONDS = 5.0


class Server:
    """The parts put together; one packet's way from socket to reply."""

    def __init__(self, resolv_conf: Path) -> None:
        """Read the records; `open` lets the world in."""
        self.loop = Loop(self._fault)
        self.names = Names()
        self.watcher = Watcher(Path(NETWORKS), self.names)
        self.listeners = Listeners(self.loop, self._datagrams, self._connection)
        self.inside = Inside(self.loop, self._datagrams, self._connection, self._left)
        self.streams = Streams(self.loop, self._ask, time.monotonic)
        self.forwarder = Forwarder(self.loop, HostResolvers(resolv_conf), self._is_own, time.monotonic)
        self.version = code_version()  # Now: nobody may not be able to read the sources.
        self.faults = 0

    def open(self) -> None:
        """Listen, for clients and for the engine."""
        self.control = Control(self.loop, self._status)
        self.inside.listen()
        self.loop.watch(self.watcher.fd, lambda _: self._catch_up(), essential=True)
        self._follow()

    def run(self) -> None:
        """Serve until the records' directory is removed."""
        parts = (self.listeners, self.streams, self.forwarder)
        while not self.watcher.gone:
            self.loop.run_once(until(time.monotonic(), [part.next_deadline() for part in parts]))
            now = time.monotonic()
            self.streams.expire(now)
            self.forwarder.expire(now)
            retry_at = self.listeners.next_deadline()
            if retry_at is not None and retry_at <= now:
                self._follow()

    def _catch_up(self) -> None:
        if self.watcher.catch_up():
            self._follow()

    def _follow(self) -> None:
        zones = self.names.zones.values()
        wanted = [(zone.network, str(ip_interface(each).ip)) for zone in zones for each in zone.listen]
        for network in self.listeners.follow(wanted, time.monotonic()):
            self.streams.close_network(network)

    def _is_own(self, address: str) -> bool:
        return address in self.listeners.addresses

    def _datagrams(self, listener: Listener) -> None:
        received = []
        with suppress(OSError):  # EAGAIN: all read.
            for _ in range(BATCH):
                received.append(listener.udp.recvfrom(wire.MAX_QUERY + 1))
        self._catch_up()  # After reading, before answering: a record written before the question counts.
        for packet, sender in received:
            try:
                self._answer_datagram(listener, packet, sender)
            except Exception:
                self._fault()

    def _answer_datagram(self, listener: Listener, packet: bytes, sender: tuple[str, int]) -> None:
        client = listener.client(sender[0])
        view = self._view(listener, sender[0])
        if view is None or len(packet) > wire.MAX_QUERY:
            return
        outcome = answer(self.names, view, packet)
        if isinstance(outcome, Forward):
            key = (listener.owner, listener.address, sender, packet[:2], outcome.query.echo)
            reply = partial(_send, listener, sender)
            self._forward(listener, packet, outcome, client, reply, over_tcp=False, key=key)
        elif outcome is not None:
            _send(listener, sender, outcome)

    def _view(self, listener: Listener, address: str) -> View | None:
        return self.names.own_view(listener.owner) if listener.owner else self.names.view(listener.network, address)

    def _forward(
        self,
        listener: Listener,
        packet: bytes,
        outcome: Forward,
        client: str,
        reply: Callable[[bytes], None],
        *,
        over_tcp: bool,
        key: object,
    ) -> None:
        """A container's own resolvers may be reached by its own links alone; the host's are, from here."""
        askers = self.inside.askers(listener) if outcome.resolvers else None
        self.forwarder.forward(
            packet, outcome.query, outcome.resolvers, client, reply, over_tcp=over_tcp, key=key, askers=askers
        )

    def _left(self, owner: str) -> None:
        self.streams.close_owner(owner)

    def _connection(self, listener: Listener) -> None:
        self._catch_up()
        try:
            self.streams.accept(listener)
        except Exception:
            self._fault()

    def _ask(self, stream: Stream, packet: bytes, reply: Callable[[bytes], None]) -> None:
        self._catch_up()
        view = self._view(stream.listener, stream.client)
        outcome = None if view is None else answer(self.names, view, packet, over_tcp=True)
        if outcome is None:
            raise wire.Malformed("not a question, or not from this network")
        if isinstance(outcome, Forward):
            self._forward(stream.listener, packet, outcome, stream.client, reply, over_tcp=True, key=object())
        else:
            reply(outcome)

    def _status(self) -> Status:
        self._catch_up()
        self.inside.take()
        return {
            "pid": os.getpid(),
            "version": self.version,
            "listening": sorted(self.listeners.open),
            "failed": [[*key, reason] for key, reason in sorted(self.listeners.failed.items())],
            "inside": [(owner, each.pid, each.started) for owner, each in sorted(self.inside.open.items())],
            "faults": self.faults,
        }

    def _fault(self) -> None:
        """A packet that our own code tripped over costs that packet, never the server."""
        self.faults += 1
        if self.faults <= MAX_TOLD_FAULTS:
            traceback.print_exc()


def _send(listener: Listener, client: tuple[str, int], reply: bytes) -> None:
    with suppress(OSError):  # Full buffers, a firewall, a socket closed since: the client asks again.
        listener.udp.sendto(reply, client)


def main(arguments: list[str]) -> int:
    """Leave a server behind; 0 once it answers, 1 with the reason on standard error."""
    directory, resolv_conf, *replaced = arguments
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _serve(Path(directory), Path(resolv_conf), tuple(int(number) for number in replaced), writer)
        os._exit(0)
    os.close(writer)
    return 0 if os.read(reader, 1) == b"1" else 1


def _serve(directory: Path, resolv_conf: Path, replaced: tuple[int, ...], ready: int) -> None:
    os.chdir(directory)
    os.umask(0o077)
    _reset_signals()
    set_name("trimtab-dns")
    with Path(LOCK_FILE).open("w") as lock:
        _raise_file_limit()
        server = Server(resolv_conf)
        _take(lock.fileno(), replaced)
        server.open()
        write_identity(os.getpid(), start_time(os.getpid()) or 0)
        log = os.open(LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        drop_privileges()
        os.write(ready, b"1")
        os.close(ready)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        server.run()


def _take(lock: int, replaced: tuple[int, ...]) -> None:
    """Hold the lock, after the end of the server that is taken over from. Exits where another one holds it."""
    if replaced:
        send_signal(replaced[0], replaced[1], signal.SIGKILL)  # It keeps nothing that an orderly end would save.
    deadline = time.monotonic() + (TAKE_OVER_SECONDS if replaced else 0)
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                sys.exit("another DNS server of this engine holds the lock")
            time.sleep(0.001)


def _reset_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
