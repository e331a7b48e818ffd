"""A container between the birth of its init and its program: what is done until the monitor can take over.

It answers who asked for the container, runs the creation hooks, serves the container's socket, and lets init start.
When init has executed its program, or has failed, nothing is left to do here but to hand over. Lives in a loop, the
launcher's or its own, and can move from the one to the other.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runtime.kernel import terminal
from runtime.kernel.process import start_time, wait_end
from runtime.process import farewell, handover, hooks, protocol
from runtime.process.failure import NotRunning, ProcessFailed, step
from runtime.process.handover import Facts, Handover, hand_over
from runtime.process.loop import Loop
from runtime.process.pair import Init, Pair
from runtime.process.paths import ContainerPaths, undo
from runtime.process.records import Phase, ProcessRecord, write_state
from runtime.process.stdio import Streams

END_SECONDS = 5.0


@dataclass(slots=True)
class Made:
    """A container as `creator.py` has made it: init builds its root, or waits for `start` already."""

    paths: ContainerPaths
    spec: dict[str, Any]
    init: Init
    streams: Streams
    server: socket.socket
    pair: Pair
    log: dict[str, Any] | None
    console: str | int | None
    descriptors: list[tuple[str, int]] = field(default_factory=list)


class Creation:
    """One container that does not run yet."""

    def __init__(self, made: Made, creator: socket.socket, on_end: Callable[[Creation], None]) -> None:
        self.made = made
        self.on_end = on_end
        self.creator: socket.socket | None = creator
        self.starter: socket.socket | None = None
        self.attached: list[tuple[str, socket.socket]] = []
        self.asking: dict[int, socket.socket] = {}
        self.terminal = -1
        self.created_at = time.time()
        self.started_at: float | None = None
        self.began: float | None = None
        self.failure: ProcessFailed | None = None
        self.over = False
        self.loop: Loop | None = None
        self.init_started = start_time(made.init.pid) or 0
        self.monitor_started = made.pair.started or 0
        self._keep_state(Phase.CREATED)

    def watch(self, loop: Loop) -> None:
        """Live in `loop` from now on."""
        self.loop = loop
        loop.watch(self.made.init.channel.fileno(), self._guarded(self._on_init))
        loop.watch(self.made.init.pidfd, self._guarded(self._on_exit))
        loop.watch(self.made.pair.channel.fileno(), self._guarded(self._on_monitor_end))
        loop.watch(self.made.server.fileno(), self._guarded(self._on_connection))
        for connection in self.asking.values():
            self._listen_to(connection)

    def _guarded(self, callback: Callable[[], None]) -> Callable[[], None]:
        """A mistake of ours ends this container, and no other that lives in the same loop."""

        def call() -> None:
            try:
                callback()
            except Exception as error:
                traceback.print_exc()
                sys.stderr.flush()
                if not self.over:
                    self.failure = ProcessFailed(repr(error), step="create")
                    self.end_init()
                    self._finish()

        return call

    def leave_loop(self) -> None:
        """Stop living in the loop: another process goes on."""
        if self.loop is not None:
            for descriptor in self.descriptors():
                self.loop.forget(descriptor)

    def descriptors(self) -> set[int]:
        """Everything this container needs to stay open."""
        made, streams = self.made, self.made.streams
        sockets = [made.init.channel, made.server, made.pair.channel, self.creator, self.starter]
        sockets += [*self.asking.values(), *(connection for _, connection in self.attached)]
        numbers = {one.fileno() for one in sockets if one is not None}
        numbers |= {made.init.pidfd, self.terminal, streams.stdin, streams.stdout, streams.stderr}
        numbers |= {number for _, number in made.descriptors}
        if isinstance(made.console, int):
            numbers.add(made.console)
        return {number for number in numbers if number >= 0}

    def _finish(self) -> None:
        """Hand over, or take away what could not be made; nothing of this is open here afterwards."""
        self.over = True
        self.leave_loop()
        if self.failure is None and self.starter is not None:
            self.started_at, self.began = time.time(), time.monotonic()
            self._keep_state(Phase.RUNNING)
        if self.creator is None:
            with contextlib.suppress(OSError):
                hand_over(self.made.pair.channel, self._handover())
            self._after_start()
        else:
            self.end_init()
            undo(self.made.paths)
            reply(self.creator, {"failed": self.why_not().to_message()})
            self.creator = None
        self._close()
        self.on_end(self)

    def abandon(self) -> None:
        """Another process has it: close everything here, and nothing more."""
        self.over = True
        if self.creator is not None:
            self.creator.close()
        self._close()

    def _close(self) -> None:
        made, streams = self.made, self.made.streams
        numbers = {made.init.pidfd, self.terminal, streams.stdin, streams.stdout, streams.stderr}
        numbers |= {number for _, number in made.descriptors}
        for number in numbers:
            if number >= 0:
                os.close(number)
        for one in (made.init.channel, made.server, made.pair.channel, self.starter, *self.asking.values()):
            if one is not None:
                one.close()
        for _, connection in self.attached:
            connection.close()

    def why_not(self) -> ProcessFailed:
        """Why there is no container."""
        return self.failure or ProcessFailed("init ended before its program ran", step="init")

    def answer_creator(self) -> None:
        """Tell whoever asked for the container that init is there. Once."""
        if self.creator is not None:
            reply(self.creator, {"pid": self.made.init.pid, "start_time": self.init_started})
            self.creator = None

    def _after_start(self) -> None:
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
        words = (made.spec.get("annotations") or {}).get(farewell.ANNOTATION, "")
        known = (made.paths, made.init.pid, self.init_started, made.log, kinds, self.started_at, failure, words)
        facts = Facts(*known, self.began)
        return Handover([(letter, number) for letter, number in named if number >= 0], facts.to_text())

    # init

    def _on_init(self) -> None:
        received = protocol.receive(self.made.init.channel)
        if received is None:
            # execve has closed it, or init is about to be gone
            self._finish()
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
        # a program that was that quick has run; an init that was killed before has not
        if self.starter is None:
            self.failure = self.failure or self.why_not()
        # what init said last still lies in its socket
        while not self.over:
            self._on_init()

    def _on_monitor_end(self) -> None:
        """Nobody is left to take the container over: it must not begin to run."""
        self.failure = ProcessFailed("its monitor was killed", step="monitor")
        self.end_init()
        self._finish()

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
        """Kill init and wait until it is gone; its monitor reaps it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.made.init.pidfd, signal.SIGKILL)
        wait_end(self.made.init.pidfd, END_SECONDS)

    def _keep_state(self, phase: Phase) -> None:
        made = self.made
        record = ProcessRecord(
            name=made.paths.name,
            phase=phase,
            pid=made.init.pid,
            start_time=self.init_started,
            created_at=self.created_at,
            started_at=self.started_at,
            monitor_pid=made.pair.monitor,
            monitor_start_time=self.monitor_started,
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
        self.asking[connection.fileno()] = connection
        self._listen_to(connection)

    def _listen_to(self, connection: socket.socket) -> None:
        assert self.loop is not None
        self.loop.watch(connection.fileno(), self._guarded(lambda: self._on_request(connection)))

    def _on_request(self, connection: socket.socket) -> None:
        assert self.loop is not None
        self.loop.forget(connection.fileno())
        del self.asking[connection.fileno()]
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
