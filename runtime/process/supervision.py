"""A monitor's loop: what it does between the birth of its init and its end.

One epoll set, one callback per descriptor. Output is read and written in the same turn, so a slow disk slows the
container down and never fills our memory.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import asdict

from runtime.kernel import cgroup
from runtime.process import protocol
from runtime.process.birth import Init
from runtime.process.bundle import Spec
from runtime.process.failure import NotRunning, ProcessFailed
from runtime.process.log_write import Log
from runtime.process.paths import ContainerPaths
from runtime.process.records import ExitRecord, Phase, ProcessRecord, write_exit, write_state
from runtime.process.stdio import Streams

READ_BYTES = 1 << 16
"""A pipe holds as much, so one read empties it."""


class Supervision:
    """One container under its monitor's eyes."""

    def __init__(
        self,
        paths: ContainerPaths,
        spec: Spec,
        init: Init,
        streams: Streams,
        server: socket.socket,
        creator: socket.socket,
        log: Log,
        early: bool,
    ) -> None:
        self.paths = paths
        self.spec = spec
        self.init = init
        self.streams = streams
        self.server = server
        self.log = log
        self.creator: socket.socket | None = creator
        self.starter: socket.socket | None = None
        self.waiters: list[socket.socket] = []
        self.phase = Phase.CREATED
        self.failure: ProcessFailed | None = None
        self.created_at = time.time()
        self.started_at: float | None = None
        self.status: os.waitid_result | None = None
        self.epoll = select.epoll()
        self.callbacks: dict[int, Callable[[], None]] = {}
        self._keep_state()
        if early:
            self._answer_creator()

    # the loop

    def watch(self, descriptor: int, callback: Callable[[], None], events: int = select.EPOLLIN) -> None:
        """Call `callback` whenever the descriptor has something to say."""
        self.callbacks[descriptor] = callback
        self.epoll.register(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor."""
        del self.callbacks[descriptor]
        self.epoll.unregister(descriptor)

    def run(self) -> None:
        """Until init has ended and everything about it is written down."""
        self.watch(self.init.pidfd, self._on_exit)
        self.watch(self.init.channel.fileno(), self._on_init)
        self.watch(self.server.fileno(), self._on_connection)
        for number, descriptor in ((1, self.streams.stdout), (2, self.streams.stderr)):
            if descriptor >= 0:
                self._watch_output(number, descriptor)
        while self.status is None:
            for descriptor, _ in self.epoll.poll():
                callback = self.callbacks.get(descriptor)
                if callback is not None:
                    callback()
        self._finish()

    # init

    def _on_init(self) -> None:
        received = protocol.receive(self.init.channel)
        if received is None:
            self.forget(self.init.channel.fileno())
            self._on_executed()
        elif "created" in received[0]:
            self._answer_creator()
        elif "failed" in received[0]:
            self.failure = ProcessFailed.from_message(received[0]["failed"])

    def _answer_creator(self) -> None:
        if self.creator is not None:
            self._reply(self.creator, {"pid": self.init.pid, "start_time": self.init.start_time})
            self.creator = None

    def _on_executed(self) -> None:
        """Init's socket has closed: execve has happened, or init has failed or died."""
        if self.failure is not None or self.starter is None:
            return
        self.phase = Phase.RUNNING
        self.started_at = time.time()
        self._keep_state()
        self._reply(self.starter, {"started": True})
        self.starter = None

    def _keep_state(self) -> None:
        record = ProcessRecord(
            name=self.paths.name,
            phase=self.phase,
            pid=self.init.pid,
            start_time=self.init.start_time,
            created_at=self.created_at,
            started_at=self.started_at,
            monitor_pid=os.getpid(),
            bundle=self.paths.bundle,
            cgroup=self.paths.cgroup,
        )
        write_state(self.paths.live, record)

    # output

    def _watch_output(self, number: int, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.watch(descriptor, lambda: self._on_output(number, descriptor))

    def _on_output(self, number: int, descriptor: int) -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self.log.write(number, data)
        else:
            self.forget(descriptor)
            os.close(descriptor)

    # requests

    def _on_connection(self) -> None:
        connection, _ = self.server.accept()
        if protocol.peer_uid(connection) != 0:
            connection.close()
            return
        self.watch(connection.fileno(), lambda: self._on_request(connection))

    def _on_request(self, connection: socket.socket) -> None:
        self.forget(connection.fileno())
        try:
            received = protocol.receive(connection)
        except (OSError, ValueError):
            received = None
        if received is None:
            connection.close()
            return
        message, descriptors = received
        try:
            self._obey(connection, message, descriptors)
        except ProcessFailed as failure:
            self._reply(connection, {"failed": failure.to_message()})

    def _obey(self, connection: socket.socket, message: protocol.Message, descriptors: list[int]) -> None:
        verb = message["verb"]
        if verb == "start":
            self._start(connection)
        elif verb == "wait":
            self.waiters.append(connection)
        else:
            raise ProcessFailed(f"the monitor knows no {verb!r}", step="monitor")

    def _start(self, connection: socket.socket) -> None:
        if not self.phase.can_start or self.starter is not None:
            raise NotRunning(f"cannot start: it is {self.phase.value}", step="start")
        self.starter = connection
        with contextlib.suppress(OSError):
            protocol.send(self.init.channel, {"start": True})

    def _reply(self, connection: socket.socket, message: protocol.Message) -> None:
        with contextlib.suppress(OSError):
            protocol.send(connection, message)
        connection.close()

    # the end

    def _on_exit(self) -> None:
        self.status = os.waitid(os.P_PIDFD, self.init.pidfd, os.WEXITED)

    def _finish(self) -> None:
        # what init said last may still lie in its socket
        while self.init.channel.fileno() in self.callbacks:
            self._on_init()
        self._kill_rest()
        self._drain()
        self.log.close()
        record = self._exit_record()
        write_exit(self.paths.bundle, record)
        self._tell_all(record)
        with contextlib.suppress(OSError):
            cgroup.remove(self.paths.cgroup)
        with contextlib.suppress(OSError):
            os.unlink(self.paths.socket)
        return

    def _kill_rest(self) -> None:
        with contextlib.suppress(OSError):
            if len(cgroup.processes(self.paths.cgroup)):
                cgroup.kill(self.paths.cgroup)

    def _drain(self) -> None:
        """Take what is still in the pipes; never wait for a stranger who holds one open."""
        for number, descriptor in ((1, self.streams.stdout), (2, self.streams.stderr)):
            while descriptor in self.callbacks:
                if not select.select([descriptor], [], [], 0)[0]:
                    break
                self._on_output(number, descriptor)

    def _exit_record(self) -> ExitRecord:
        assert self.status is not None
        killed = self.status.si_code != os.CLD_EXITED
        code = self.status.si_status
        oom = 0
        with contextlib.suppress(OSError):
            oom = cgroup.oom_kills(self.paths.cgroup)
        return ExitRecord(
            exit_code=128 + code if killed else code,
            signal=code if killed else None,
            oom_killed=oom > 0,
            started_at=self.started_at,
            finished_at=time.time(),
            error=str(self.failure) if self.failure else "",
        )

    def _tell_all(self, record: ExitRecord) -> None:
        failure = self.failure or ProcessFailed("init ended before its program ran", step="init")
        for connection in (self.creator, self.starter):
            if connection is not None:
                self._reply(connection, {"failed": failure.to_message()})
        for connection in self.waiters:
            self._reply(connection, {"exit": asdict(record)})
