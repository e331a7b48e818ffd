"""The launcher: one small resident process per engine, from which every monitor is forked.

Started by a client on first need (`launch.py SOCKET CGROUP READY_FD`), detached, it outlives whoever
started it. It imports once what monitor, creator and init need, so that a fork costs a page table and little more. It
decides nothing about containers: a request is handed, with its connection, to a creator that waits for one.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import select
import signal
import socket
from typing import NoReturn

from runtime.kernel import cgroup
from runtime.kernel.process import close_all_but
from runtime.process import protocol
from runtime.process.pair import Pair, fork_pair
from runtime.process.signals import ignore_signals
from runtime.process.warmth import warm_up

LOG_BYTES = 1 << 20
"""A longer log of ours starts anew with the next launcher."""

IDLE_MS = 4
"""How long after a request the next pair is made: later, and it does not compete with the container just asked for."""


def main(arguments: list[str]) -> NoReturn:
    """Become the engine's launcher, or leave at once where there is one."""
    path, own_cgroup, ready = arguments[0], arguments[1], int(arguments[2])
    close_all_but(ready)
    _detach(path)
    lock = _take_lock(f"{path}.lock")
    if lock is None:
        _say_ready(ready)
        os._exit(0)
    _leave_session(own_cgroup)
    warm_up()
    server = protocol.listen(path)
    gc.collect()
    gc.freeze()
    gc.disable()
    _say_ready(ready)
    Launcher(server, path).serve()


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
    """Accepts requests, and keeps a pair waiting for the next."""

    def __init__(self, server: socket.socket, path: str) -> None:
        self.server = server
        self.path = path
        self.waiting: Pair | None = None
        self.silent: dict[int, socket.socket] = {}
        self.poll = select.poll()
        signal.signal(signal.SIGTERM, lambda *_: self.leave())

    def serve(self) -> NoReturn:
        """Until told to leave."""
        self.poll.register(self.server, select.POLLIN)
        while True:
            ready = self.poll.poll(IDLE_MS if self.waiting is None else None)
            if not ready and self.waiting is None:
                self.waiting = fork_pair()
            for descriptor, _ in ready:
                if descriptor == self.server.fileno():
                    self._accept()
                else:
                    self._hear(self.silent.pop(descriptor))

    def _accept(self) -> None:
        connection, _ = self.server.accept()
        if protocol.peer_uid(connection) != 0:
            connection.close()
            return
        # it may take its time to say what it wants: others go on meanwhile
        self.silent[connection.fileno()] = connection
        self.poll.register(connection, select.POLLIN)

    def _hear(self, connection: socket.socket) -> None:
        self.poll.unregister(connection)
        with connection, contextlib.suppress(OSError, ValueError):
            received = protocol.receive(connection)
            if received is not None:
                self._obey(connection, *received)

    def _obey(self, connection: socket.socket, message: protocol.Message, descriptors: list[int]) -> None:
        verb = message.get("verb")
        if message.get("code") != protocol.fingerprint():
            _answer(connection, {"stale": protocol.fingerprint(), "pid": os.getpid()})
        elif verb == "create":
            pair, self.waiting = self.waiting or fork_pair(), None
            pair.begin(message, (connection.fileno(), *descriptors))
        elif verb == "leave":
            self.leave()
        else:
            _answer(connection, {"hello": os.getpid()})
        for descriptor in descriptors:
            os.close(descriptor)
        if verb == "create":
            connection.close()

    def leave(self) -> NoReturn:
        """End, and the waiting pair with us."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        if self.waiting is not None:
            self.waiting.dismiss()
        os._exit(0)


def _answer(connection: socket.socket, message: protocol.Message) -> None:
    with contextlib.suppress(OSError):
        protocol.send(connection, message)
