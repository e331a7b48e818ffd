"""What a monitor does between the birth of its init and its end: answer, watch, and write down how it ended.

`requests.py` says what clients may ask; this file holds the container's state and moves its phase forward.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import asdict

from runtime.kernel import cgroup
from runtime.kernel.process import start_time
from runtime.process import frames, hooks, protocol
from runtime.process.birth import Init
from runtime.process.failure import NotRunning, ProcessFailed
from runtime.process.init import Birth
from runtime.process.input import Input
from runtime.process.log_write import Log
from runtime.process.loop import Loop
from runtime.process.output import Output
from runtime.process.paths import ContainerPaths
from runtime.process.records import ExitRecord, Phase, ProcessRecord, write_exit, write_state


class Supervision:
    """One container under its monitor's eyes."""

    def __init__(self, paths: ContainerPaths, birth: Birth, init: Init, log: Log, creator: socket.socket) -> None:
        self.paths = paths
        self.spec = birth.spec
        self.state = birth.state
        self.seccomp = birth.seccomp
        self.init = init
        self.loop = Loop()
        self.output = Output(self.loop, log)
        self.output.add_source(1, birth.streams.stdout)
        self.output.add_source(2, birth.streams.stderr)
        self.input = Input(self.loop, self.output, birth.streams.stdin)
        self.creator: socket.socket | None = creator
        self.starter: socket.socket | None = None
        self.waiters: list[socket.socket] = []
        self.phase = Phase.CREATED
        self.failure: ProcessFailed | None = None
        self.created_at = time.time()
        self.started_at: float | None = None
        self.status: os.waitid_result | None = None
        self.loop.watch(init.pidfd, self._on_exit)
        self.loop.watch(init.channel.fileno(), self._on_init)
        self._keep_state()

    def run(self) -> ExitRecord:
        """Until init has ended; what it wrote and how it ended is on disk then, and everybody who asked knows."""
        while self.status is None:
            self.loop.run_once()
        # what init said last may still lie in its socket
        while self.loop.is_watched(self.init.channel.fileno()):
            self._on_init()
        self._kill_rest()
        self.output.drain()
        record = self._exit_record()
        self.output.close(frames.frame(frames.ENDED, json.dumps(asdict(record)).encode()))
        write_exit(self.paths.bundle, record)
        self._tell_all(record)
        return record

    # init

    def _on_init(self) -> None:
        received = protocol.receive(self.init.channel)
        if received is None:
            self.loop.forget(self.init.channel.fileno())
            self._on_executed()
            return
        message, descriptors = received
        if "created" in message:
            self.answer_creator()
        elif "failed" in message:
            self.failure = ProcessFailed.from_message(message["failed"])
        elif "namespaces" in message:
            self._run_creation_hooks()
        elif "console" in message:
            self.input.set_target(os.dup(descriptors[0]), is_terminal=True)
            self.output.add_source(1, descriptors[0])

    def _run_creation_hooks(self) -> None:
        """`prestart` and `createRuntime`: the namespaces stand, the root is not entered yet; init waits."""
        state = {**self.state, "pid": self.init.pid}
        try:
            hooks.run_hooks(self.spec, "prestart", state)
            hooks.run_hooks(self.spec, "createRuntime", state)
        except ProcessFailed as failure:
            self.failure = failure
            signal.pidfd_send_signal(self.init.pidfd, signal.SIGKILL)
            return
        protocol.send(self.init.channel, {"hooked": True})

    def answer_creator(self) -> None:
        """Tell whoever asked for the container that init is there. Once."""
        if self.creator is not None:
            reply(self.creator, {"pid": self.init.pid, "start_time": self.init.start_time})
            self.creator = None

    def start(self, connection: socket.socket) -> None:
        """Let init execute its program; `connection` is answered when it has, or could not."""
        if not self.phase.can_start or self.starter is not None:
            raise NotRunning(f"cannot start: it is {self.phase.value}", step="start")
        self.starter = connection
        with contextlib.suppress(OSError):
            protocol.send(self.init.channel, {"start": True})

    def _on_executed(self) -> None:
        """Init's socket has closed: execve has happened, or init has failed or died."""
        if self.failure is not None or self.starter is None:
            return
        self.phase = Phase.RUNNING
        self.started_at = time.time()
        self._keep_state()
        reply(self.starter, {"started": True})
        self.starter = None
        # their failures are the runtime-spec's warnings: nobody is left to be warned
        hooks.run_all_hooks(self.spec, "poststart", {**self.state, "status": "running", "pid": self.init.pid})

    def _keep_state(self) -> None:
        record = ProcessRecord(
            name=self.paths.name,
            phase=self.phase,
            pid=self.init.pid,
            start_time=self.init.start_time,
            created_at=self.created_at,
            started_at=self.started_at,
            monitor_pid=os.getpid(),
            monitor_start_time=start_time(os.getpid()) or 0,
            bundle=self.paths.bundle,
            cgroup=self.paths.cgroup,
        )
        write_state(self.paths.live, record)

    # the end

    def _on_exit(self) -> None:
        self.status = os.waitid(os.P_PIDFD, self.init.pidfd, os.WEXITED)
        self.loop.forget(self.init.pidfd)

    def _kill_rest(self) -> None:
        # the kernel has ended all others of a pid namespace; without one of its own there may be some
        with contextlib.suppress(OSError):
            if cgroup.processes(self.paths.cgroup):
                cgroup.kill(self.paths.cgroup)

    def _exit_record(self) -> ExitRecord:
        assert self.status is not None
        killed = self.status.si_code != os.CLD_EXITED
        code = self.status.si_status
        oom_kills = 0
        with contextlib.suppress(OSError):
            oom_kills = cgroup.oom_kills(self.paths.cgroup)
        return ExitRecord(
            exit_code=128 + code if killed else code,
            signal=code if killed else None,
            oom_killed=oom_kills > 0,
            started_at=self.started_at,
            finished_at=time.time(),
            error=str(self.failure) if self.failure else "",
        )

    def _tell_all(self, record: ExitRecord) -> None:
        failure = self.failure or ProcessFailed("init ended before its program ran", step="init")
        for connection in (self.creator, self.starter):
            if connection is not None:
                reply(connection, {"failed": failure.to_message()})
        for connection in self.waiters:
            reply(connection, {"exit": asdict(record)})


def reply(connection: socket.socket, message: protocol.Message, descriptors: tuple[int, ...] = ()) -> None:
    """Answer and close; a client that has gone is nobody's loss."""
    with contextlib.suppress(OSError):
        protocol.send(connection, message, descriptors)
    connection.close()
