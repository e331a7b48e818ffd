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
import traceback
from dataclasses import asdict

from runtime.kernel import cgroup
from runtime.kernel.process import exit_status, start_time
from runtime.process import frames, hooks, protocol
from runtime.process.failure import NotRunning, ProcessFailed
from runtime.process.handover import Handover
from runtime.process.input import Input
from runtime.process.log_write import Log, NoLog, open_log
from runtime.process.loop import Loop
from runtime.process.output import Output
from runtime.process.paths import undo
from runtime.process.records import ExitRecord, Phase, ProcessRecord, write_exit, write_state


class Supervision:
    """One container under its monitor's eyes."""

    def __init__(self, what: Handover) -> None:
        self.what = what
        self.paths = what.paths
        self.channel = socket.socket(fileno=what.channel)
        self.loop = Loop()
        self.creator = socket.socket(fileno=what.creator) if what.creator >= 0 else None
        self.starter: socket.socket | None = None
        self.waiters: list[socket.socket] = []
        self.phase = Phase.CREATED
        self.failure: ProcessFailed | None = None
        self.created_at = time.time()
        self.started_at: float | None = None
        self.ended = False
        self.status: int | None = None
        self.output = Output(self.loop, self._open_log())
        self.output.add_source(1, what.stdout)
        self.output.add_source(2, what.stderr)
        self.input = Input(self.loop, self.output, what.stdin)
        self.loop.watch(what.pidfd, self._on_exit)
        self.loop.watch(what.channel, self._on_init)
        self._keep_state()

    def _open_log(self) -> Log:
        try:
            return open_log(self.what.log)
        except ProcessFailed as failure:
            self._give_up(failure)
            return NoLog()

    def _give_up(self, failure: ProcessFailed) -> None:
        """End an init whose program never ran."""
        self.failure = failure
        signal.pidfd_send_signal(self.what.pidfd, signal.SIGKILL)

    def run(self) -> None:
        """Until init has ended; what it wrote and how it ended is on disk then, and everybody who asked knows."""
        while not self.ended:
            self.loop.run_once()
        # what init said last may still lie in its socket
        while self.loop.is_watched(self.what.channel):
            self._on_init()
        self._kill_rest()
        if self.creator is not None:
            self._abandon()
            return
        self.output.drain()
        record = self._exit_record()
        self.output.close(frames.frame(frames.ENDED, json.dumps(asdict(record)).encode()))
        self._write_down(record)
        self._tell_all(record)

    # init

    def _on_init(self) -> None:
        received = protocol.receive(self.channel)
        if received is None:
            self.loop.forget(self.what.channel)
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
        spec = self.what.read_spec()
        state = hooks.oci_state(self.paths.name, "creating", self.what.pid, self.paths.bundle, spec)
        try:
            hooks.run_hooks(spec, "prestart", state)
            hooks.run_hooks(spec, "createRuntime", state)
        except ProcessFailed as failure:
            self._give_up(failure)
            return
        protocol.send(self.channel, {"hooked": True})

    def answer_creator(self) -> None:
        """Tell whoever asked for the container that init is there. Once."""
        if self.creator is not None:
            reply(self.creator, {"pid": self.what.pid, "start_time": self.what.start_time})
            self.creator = None

    def start(self, connection: socket.socket) -> None:
        """Let init execute its program; `connection` is answered when it has, or could not."""
        if not self.phase.can_start or self.starter is not None:
            raise NotRunning(f"cannot start: it is {self.phase.value}", step="start")
        self.starter = connection
        with contextlib.suppress(OSError):
            protocol.send(self.channel, {"start": True})

    def _on_executed(self) -> None:
        """Init's socket has closed: execve has happened, or init has failed or died."""
        if self.failure is not None or self.starter is None:
            return
        self.phase = Phase.RUNNING
        self.started_at = time.time()
        self._keep_state()
        reply(self.starter, {"started": True})
        self.starter = None
        if "poststart" in self.what.hooks:
            spec = self.what.read_spec()
            # their failures are the runtime-spec's warnings: nobody is left to be warned
            state = hooks.oci_state(self.paths.name, "running", self.what.pid, self.paths.bundle, spec)
            hooks.run_all_hooks(spec, "poststart", state)

    def _keep_state(self) -> None:
        record = ProcessRecord(
            name=self.paths.name,
            phase=self.phase,
            pid=self.what.pid,
            start_time=self.what.start_time,
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
        self.loop.forget(self.what.pidfd)
        self.status = exit_status(self.what.pidfd)
        self.ended = True

    def _kill_rest(self) -> None:
        # the kernel has ended all others of a pid namespace; without one of its own there may be some
        with contextlib.suppress(OSError):
            if cgroup.processes(self.paths.cgroup):
                cgroup.kill(self.paths.cgroup)

    def _exit_record(self) -> ExitRecord:
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        oom_kills = 0
        with contextlib.suppress(OSError):
            oom_kills = cgroup.oom_kills(self.paths.cgroup)
        return ExitRecord(
            exit_code=128 - code if code is not None and code < 0 else code,
            signal=-code if code is not None and code < 0 else None,
            oom_killed=oom_kills > 0,
            started_at=self.started_at,
            finished_at=time.time(),
            error=str(self.failure) if self.failure else "",
        )

    def _why_not(self) -> ProcessFailed:
        return self.failure or ProcessFailed("init ended before its program ran", step="init")

    def _abandon(self) -> None:
        """A container that could not be made: nothing of it stays, and then its creator is told."""
        assert self.creator is not None
        self.output.close(b"")
        undo(self.paths)
        reply(self.creator, {"failed": self._why_not().to_message()})

    def _write_down(self, record: ExitRecord) -> None:
        try:
            write_exit(self.paths.bundle, record)
        except OSError:
            # a full disk, or a bundle removed under us: who waits is told all the same, and our log says why
            traceback.print_exc()

    def _tell_all(self, record: ExitRecord) -> None:
        if self.starter is not None:
            reply(self.starter, {"failed": self._why_not().to_message()})
        for connection in self.waiters:
            reply(connection, {"exit": asdict(record)})


def reply(connection: socket.socket, message: protocol.Message, descriptors: tuple[int, ...] = ()) -> None:
    """Answer and close; a client that has gone is nobody's loss."""
    with contextlib.suppress(OSError):
        protocol.send(connection, message, descriptors)
    connection.close()
