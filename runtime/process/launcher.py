"""The launcher: one small resident process per engine, which makes containers of monitors and inits that wait.

Started by a client on first need (`launch.py SOCKET CGROUP READY_FD`), detached, it outlives whoever started it. It has
imported everything and is warm, so most containers are made right here; one that could make it wait (hooks, files of
others), or that is created and not started, goes to a process of its own. It decides nothing about containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import NoReturn

from runtime.kernel import cgroup, prctl
from runtime.kernel.process import close_all_but
from runtime.process import protocol
from runtime.process.bundle import open_bundle
from runtime.process.creation import Creation, reply
from runtime.process.creator import Request, begin, is_quick, see_through
from runtime.process.failure import ProcessFailed
from runtime.process.loop import Loop
from runtime.process.pair import Pair
from runtime.process.paths import ContainerPaths
from runtime.process.signals import ignore_signals
from runtime.process.warmth import warm_up
from runtime.process.zygote import Zygote, run_and_end

LOG_BYTES = 1 << 20
"""A longer log of ours starts anew with the next launcher."""

PAIRS = 2
"""How many monitors, each with its init, wait for a container."""

IDLE_SECONDS = 0.01
"""How long after the last container began to run the next pair is made: it must not compete with that one's start, nor
with its end where it is a short one."""

MANY_DESCRIPTORS = 256
"""A new connection's number above which is swept at once."""

LINGER_SECONDS = 0.05
"""How long a container that is created and not started stays here."""

DISMISS_SECONDS = 2.0

OTHERS_SECONDS = 10.0
"""How long to wait for another launcher that has the lock and does not listen yet, or is leaving."""


def main(arguments: list[str]) -> NoReturn:
    """Become the engine's launcher, or leave at once where there is one."""
    path, own_cgroup, ready = arguments[0], arguments[1], int(arguments[2])
    close_all_but(ready)
    _detach(path)
    lock = _lock_unless_another_listens(path)
    if lock is None:
        _say_ready(ready)
        os._exit(0)
    _leave_session(own_cgroup)
    warm_up()
    gc.collect()
    gc.freeze()
    gc.disable()
    zygote = Zygote()
    server = protocol.listen(path)
    _say_ready(ready)
    Launcher(server, path, lock, zygote).serve()


def _detach(path: str) -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    # a real-time client's launcher would be a real-time launcher, whose children fit in no cgroup
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    ignore_signals()
    _redirect(path)
    # monitors are nobody's to reap but the kernel's
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def _leave_session(own_cgroup: str) -> None:
    """Enter a cgroup of our own: the end of the session or service that started us is not ours."""
    with contextlib.suppress(OSError):
        cgroup.create(own_cgroup, {"devices": [{"allow": True, "access": "rwm"}]})
        cgroup.join(own_cgroup)


def _redirect(path: str) -> None:
    """Nothing to read, and a file for what should never be written: the tracebacks of our own mistakes."""
    log = os.open(f"{path}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if os.fstat(log).st_size > LOG_BYTES:
        os.ftruncate(log, 0)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for number, descriptor in enumerate((null, log, log)):
        os.dup2(descriptor, number, inheritable=True)
    os.close(null)
    os.close(log)


def _lock_unless_another_listens(path: str) -> int | None:
    """The engine's lock, also of one that went meanwhile; None where another launcher listens, or holds it too long.

    A client told before would find nobody and start one more, and many of those hold up the one that begins.
    """
    deadline = time.monotonic() + OTHERS_SECONDS
    while (lock := _take_lock(f"{path}.lock")) is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError), protocol.connect(path):
            return None
        time.sleep(0.01)
    return lock


def _take_lock(path: str) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _say_ready(ready: int) -> None:
    with contextlib.suppress(OSError):
        os.write(ready, b"1")
    os.close(ready)


class Launcher:
    """Accepts requests, makes the containers nothing can hold up, and keeps pairs waiting for the next."""

    def __init__(self, server: socket.socket, path: str, lock: int, zygote: Zygote) -> None:
        self.server = server
        self.path = path
        self.lock = lock
        self.zygote = zygote
        self.loop = Loop()
        self.waiting: list[Pair] = []
        self.silent: dict[int, socket.socket] = {}
        self.creations: dict[Creation, float] = {}
        self.elsewhere: dict[int, float] = {}
        self.woken, waker = socket.socketpair()
        self.waker = waker
        waker.setblocking(False)
        # only noted here: a signal may come while a container is half made
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno())

    def serve(self) -> NoReturn:
        """Until told to leave."""
        self.loop.watch(self.server.fileno(), self._accept)
        self.loop.watch(self.woken.fileno(), self.leave)
        self._when_idle()
        while True:
            self.loop.run_once()

    # requests

    def _accept(self) -> None:
        connection, _ = self.server.accept()
        if protocol.peer_uid(connection) != 0:
            connection.close()
            return
        # it may take its time to say what it wants: others go on meanwhile
        self.silent[connection.fileno()] = connection
        if connection.fileno() > MANY_DESCRIPTORS:
            # requests without a pause: what the sweep waits for does not come by itself
            self._sweep()
        self.loop.watch(connection.fileno(), lambda: self._hear(connection))

    def _hear(self, connection: socket.socket) -> None:
        self.loop.forget(connection.fileno())
        del self.silent[connection.fileno()]
        try:
            received = protocol.receive(connection)
        except (OSError, ValueError):
            received = None
        if received is None:
            connection.close()
            return
        message, descriptors = received
        self._obey(connection, message)
        for descriptor in descriptors:
            os.close(descriptor)

    def _obey(self, connection: socket.socket, message: protocol.Message) -> None:
        verb = message.get("verb")
        if message.get("code") != protocol.fingerprint():
            reply(connection, {"stale": protocol.fingerprint(), "pid": os.getpid()})
        elif verb == "create":
            self._create(connection, message)
        elif verb == "leave":
            self.leave()
        else:
            reply(connection, {"hello": os.getpid()})

    def _create(self, connection: socket.socket, message: protocol.Message) -> None:
        try:
            paths = ContainerPaths.from_message(message)
            spec, config = open_bundle(paths.bundle)
            pair = self._take_pair()
            request = Request(connection, paths, spec, config, pair, early=bool(message.get("early")))
        except ProcessFailed as failure:
            reply(connection, {"failed": failure.to_message()})
            return
        if is_quick(spec, paths):
            creation = begin(request, self.loop, self._forget)
            if creation is not None:
                self.creations[creation] = time.monotonic()
        else:
            ended = self._hand_to_child(
                lambda: see_through(request), {connection.fileno(), config, *pair.descriptors()}
            )
            self.elsewhere[ended] = time.monotonic()
            self.loop.watch(ended, lambda: self._overlook(ended))
            connection.close()
            pair.dismiss()
        self._when_idle()

    def _take_pair(self) -> Pair:
        """One that waits; a new one where there is none, or none that was not killed meanwhile."""
        while self.waiting:
            pair = self.waiting.pop()
            if pair.is_waiting():
                return pair
            pair.dismiss()
        return self.zygote.fork_pair()

    def _forget(self, creation: Creation) -> None:
        self.creations.pop(creation, None)
        self._when_idle()

    # a container that waits

    def _overlook(self, ended: int) -> None:
        """What a process of its own makes runs, or will not for long."""
        self.loop.forget(ended)
        del self.elsewhere[ended]
        os.close(ended)
        self._when_idle()

    def _hand_to_child(self, life: Callable[[], None], kept: set[int]) -> int:
        """Go on in a process of its own, which keeps only these descriptors. A pipe that breaks with its end."""
        ended, alive = os.pipe()
        if not os.fork():
            self._live_apart(life, {alive, *kept})
        os.close(alive)
        return ended

    def _live_apart(self, life: Callable[[], None], kept: set[int]) -> NoReturn:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        prctl.set_name("trimtab-creator")
        close_all_but(*kept)
        run_and_end(life)

    def _let_go(self, creation: Creation) -> None:
        """A container that is created and not started outlives us: a process of its own goes on waiting for `start`."""

        def life() -> None:
            loop = Loop()
            creation.watch(loop)
            while not creation.over:
                loop.run_once()

        kept = creation.descriptors()
        creation.leave_loop()
        os.close(self._hand_to_child(life, kept))
        creation.abandon()
        self._forget(creation)

    # moments without requests

    def _when_idle(self) -> None:
        self.loop.call_at(time.monotonic() + IDLE_SECONDS, self._idle)

    def _idle(self) -> None:
        """What can wait: another pair, containers that do not start, descriptors left open."""
        now = time.monotonic()
        for creation, since in list(self.creations.items()):
            if now - since > LINGER_SECONDS:
                self._let_go(creation)
        for ended, since in list(self.elsewhere.items()):
            if now - since > LINGER_SECONDS:
                self._overlook(ended)
        if self.creations or self.elsewhere:
            # one that is being made, or is about to start, wants the processors more
            self._when_idle()
            return
        if len(self.waiting) < PAIRS:
            self.waiting.append(self.zygote.fork_pair())
        self._sweep()
        if len(self.waiting) < PAIRS:
            self._when_idle()

    def _sweep(self) -> None:
        """Close what making containers has left open: the last close of a detached mount takes milliseconds."""
        gc.collect()
        own = (self.server, self.zygote.channel, self.woken, self.waker)
        kept = {self.lock, self.loop.epoll.fileno(), *(one.fileno() for one in own), *self.silent, *self.elsewhere}
        for pair in self.waiting:
            kept |= pair.descriptors()
        for creation in self.creations:
            kept |= creation.descriptors()
        close_all_but(*kept)

    def leave(self) -> NoReturn:
        """End, and the waiting pairs with us; what is being made goes on."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        for creation in list(self.creations):
            self._let_go(creation)
        for pair in self.waiting:
            pair.dismiss()
        for pair in self.waiting:
            pair.wait_end(DISMISS_SECONDS)
        self.zygote.end(DISMISS_SECONDS)
        os._exit(0)
