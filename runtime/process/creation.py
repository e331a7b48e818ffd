"""A container between the birth of its init and its program: what the creator does until it can hand over.

It answers who asked for the container, runs the creation hooks, serves the container's socket, and lets init start.
When init has executed its program, or has failed, nothing is left to do here: `run` returns what the monitor needs.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runtime.kernel import terminal
from runtime.kernel.process import start_time, wait_end
from runtime.process import handover, hooks, protocol
from runtime.process.birth import Init
from runtime.process.failure import NotRunning, ProcessFailed, step
from runtime.process.handover import Facts, Handover
from runtime.process.paths import ContainerPaths
from runtime.process.records import Phase, ProcessRecord, write_state
from runtime.process.stdio import Streams


@dataclass(slots=True)
class Made:
    """A container as `creator.py` has made it: init builds its root, or waits for `start` already."""

    paths: ContainerPaths
    spec: dict[str, Any]
    init: Init
    streams: Streams
    server: socket.socket
    monitor: int
    log: dict[str, Any] | None
    console: str | int | None = None
    descriptors: list[tuple[str, int]] = field(default_factory=list)


class Creation:
    """One container that does not run yet."""

    def __init__(self, made: Made, creator: socket.socket) -> None:
        self.made = made
        self.creator: socket.socket | None = creator
        self.starter: socket.socket | None = None
        self.attached: list[tuple[str, socket.socket]] = []
        self.terminal = -1
        self.created_at = time.time()
        self.started_at: float | None = None
        self.failure: ProcessFailed | None = None
        self.over = False
        self.orphaned = False
        self.callbacks: dict[int, Callable[[], None]] = {}
        self.poll = select.poll()

    def run(self) -> Handover | None:
        """Until init has executed its program or has failed. None where nobody was ever told of the container."""
        self._keep_state(Phase.CREATED)
        self._watch(self.made.init.channel.fileno(), self._on_init)
        self._watch(self.made.init.pidfd, self._on_exit)
        self._watch(self.made.server.fileno(), self._on_connection)
        monitor = os.pidfd_open(self.made.monitor)
        self._watch(monitor, self._on_monitor_end)
        while not self.over:
            for descriptor, _ in self.poll.poll():
                callback = self.callbacks.get(descriptor)
                if callback is not None and not self.over:
                    callback()
        if self.creator is not None or self.orphaned:
            return None
        if self.failure is None and self.starter is not None:
            self.started_at = time.time()
            self._keep_state(Phase.RUNNING)
        return self._handover()

    def why_not(self) -> ProcessFailed:
        """Why there is no container."""
        return self.failure or ProcessFailed("init ended before its program ran", step="init")

    def answer_creator(self) -> None:
        """Tell whoever asked for the container that init is there. Once."""
        if self.creator is not None:
            reply(self.creator, {"pid": self.made.init.pid, "start_time": self.made.init.start_time})
            self.creator = None

    def after_start(self) -> None:
        """Tell whoever waits that the program runs, and run the hooks of that moment."""
        if self.started_at is None:
            return
        if self.starter is not None:
            reply(self.starter, {"started": True})
        # their failures are the runtime-spec's warnings: nobody is left to be warned
        hooks.run_all_hooks(self.made.spec, "poststart", self._state("running"))

    def _handover(self) -> Handover:
        made, streams = self.made, self.made.streams
        failed = self.starter if self.started_at is None else None
        named = [
            *made.descriptors,
            (handover.PIDFD, made.init.pidfd),
            (handover.JOINER, made.init.joiner),
            (handover.SERVER, made.server.fileno()),
            (handover.STDOUT, streams.stdout),
            (handover.STDERR, streams.stderr),
            (handover.STDIN, streams.stdin),
            (handover.TERMINAL, self.terminal),
            (handover.STARTER, failed.fileno() if failed else -1),
            *((letter, connection.fileno()) for letter, connection in self.attached),
        ]
        kinds = frozenset(kind for kind, listed in (made.spec.get("hooks") or {}).items() if listed)
        failure = None if self.started_at is not None else self.why_not()
        facts = Facts(made.paths, made.init.pid, made.init.start_time, made.log, kinds, self.started_at, failure)
        return Handover([(letter, number) for letter, number in named if number >= 0], facts.to_text())

    def _watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        self.callbacks[descriptor] = callback
        self.poll.register(descriptor, select.POLLIN)

    def _forget(self, descriptor: int) -> None:
        del self.callbacks[descriptor]
        self.poll.unregister(descriptor)

    # init

    def _on_init(self) -> None:
        received = protocol.receive(self.made.init.channel)
        if received is None:
            # execve has closed it, or init is about to be gone
            self.over = True
            return
        message, descriptors = received
        if "created" in message:
            self.answer_creator()
        elif "failed" in message:
            self.failure = ProcessFailed.from_message(message["failed"])
        elif "namespaces" in message:
            self._run_hooks()
        elif "console" in message:
            self._take_terminal(descriptors[0])

    def _take_terminal(self, master: int) -> None:
        """Keep the container's terminal for the monitor, or give it to whoever wants it."""
        console = self.made.console
        if console is None:
            self.terminal = master
            return
        try:
            give_console(console, master)
        except ProcessFailed as failure:
            self.failure = failure
            self.end_init()
        os.close(master)

    def _on_exit(self) -> None:
        # what init said last still lies in its socket
        while not self.over:
            self._on_init()
        # a program that was that quick has run; an init that was killed before has not
        if self.starter is None:
            self.failure = self.failure or self.why_not()

    def _on_monitor_end(self) -> None:
        """Nobody is left to take the container over: it must not begin to run."""
        self.orphaned = self.over = True
        self.failure = ProcessFailed("its monitor was killed", step="monitor")

    def _run_hooks(self) -> None:
        """`prestart` and `createRuntime`: the namespaces stand, the root is not entered yet; init waits."""
        try:
            for kind in ("prestart", "createRuntime"):
                hooks.run_hooks(self.made.spec, kind, self._state("creating"))
        except ProcessFailed as failure:
            self.failure = failure
            self.end_init()
            return
        with contextlib.suppress(OSError):
            protocol.send(self.made.init.channel, {"hooked": True})

    def _state(self, status: str) -> dict[str, Any]:
        made = self.made
        return hooks.oci_state(made.paths.name, status, made.init.pid, made.paths.bundle, made.spec)

    def end_init(self) -> None:
        """Kill init and wait until it is gone; its parent reaps it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.made.init.pidfd, signal.SIGKILL)
        wait_end(self.made.init.pidfd, None)

    def _keep_state(self, phase: Phase) -> None:
        made = self.made
        record = ProcessRecord(
            name=made.paths.name,
            phase=phase,
            pid=made.init.pid,
            start_time=made.init.start_time,
            created_at=self.created_at,
            started_at=self.started_at,
            monitor_pid=made.monitor,
            monitor_start_time=start_time(made.monitor) or 0,
            bundle=made.paths.bundle,
            cgroup=made.paths.cgroup,
        )
        write_state(made.paths.live, record)

    # requests

    def _on_connection(self) -> None:
        connection, _ = self.made.server.accept()
        if protocol.peer_uid(connection) != 0:
            connection.close()
            return
        self._watch(connection.fileno(), lambda: self._on_request(connection))

    def _on_request(self, connection: socket.socket) -> None:
        self._forget(connection.fileno())
        try:
            received = protocol.receive(connection)
        except (OSError, ValueError):
            received = None
        if received is None:
            connection.close()
            return
        try:
            self._obey(connection, received[0])
        except ProcessFailed as failure:
            reply(connection, {"failed": failure.to_message()})
        except (KeyError, TypeError, ValueError) as error:
            reply(connection, {"failed": ProcessFailed(f"not a request: {error!r}", step="monitor").to_message()})

    def _obey(self, connection: socket.socket, message: protocol.Message) -> None:
        verb = message["verb"]
        if verb == "start":
            self._start(connection)
        elif verb == "attach":
            protocol.send(connection, {"attached": True, "terminal": self.terminal >= 0})
            self.attached.append((handover.FEEDER if message.get("stdin") else handover.LISTENER, connection))
        elif verb == "resize":
            if self.terminal >= 0:
                terminal.set_size(self.terminal, message["rows"], message["columns"])
            reply(connection, {"resized": True})
        elif verb == "rotate":
            if self.made.log is not None:
                self.made.log.update(max_size=int(message["max_size"]), max_file=int(message["max_file"]))
            reply(connection, {"rotates": True})
        else:
            raise NotRunning(f"cannot {verb}: it is created", step=verb)

    def _start(self, connection: socket.socket) -> None:
        if self.starter is not None:
            raise NotRunning("cannot start: it is starting", step="start")
        self.starter = connection
        with contextlib.suppress(OSError):
            protocol.send(self.made.init.channel, {"start": True})


def reply(connection: socket.socket, message: protocol.Message, descriptors: tuple[int, ...] = ()) -> None:
    """Answer and close; a client that has gone is nobody's loss."""
    with contextlib.suppress(OSError):
        protocol.send(connection, message, descriptors)
    connection.close()


def give_console(console: str | int, master: int) -> None:
    """Give a terminal's master to the socket at a path, as runc does, or to one of our own descriptors."""
    if isinstance(console, int):
        with socket.socket(fileno=os.dup(console)) as channel:
            protocol.send(channel, {"console": True}, (master,))
        return
    with step("console socket", console), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.connect(console)
        socket.send_fds(stream, [b"/dev/ptmx"], [master])
