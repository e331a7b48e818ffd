"""Exec in the monitor: one more process in a running container, and its exit code to whoever asked.

A child joins the namespaces and there makes the process as our own child (`exec_join.py`), so that we may wait for it.
Its streams are the client's descriptors, or a terminal whose master goes to the client: no byte passes through here.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from runtime.process import protocol
from runtime.process.creation import reply
from runtime.process.exec_join import Errand, join_and_run
from runtime.process.failure import ProcessFailed
from runtime.process.loop import Loop
from runtime.process.supervision import Supervision


class Session:
    """One exec, from the fork to its exit code."""

    def __init__(self, connection: socket.socket, channel: socket.socket, joiner: int, loop: Loop):
        self.connection = connection
        self.channel = channel
        self.joiner = joiner
        self.loop = loop
        self.pid = 0
        self.pidfd = -1
        self.failure: ProcessFailed | None = None
        self.loop.watch(channel.fileno(), self._on_message)

    def _on_message(self) -> None:
        received = protocol.receive(self.channel)
        if received is None:
            self._on_executed()
            return
        message, descriptors = received
        if "pid" in message:
            os.waitid(os.P_PID, self.joiner, os.WEXITED)
            self.joiner = 0
            self.pidfd = os.pidfd_open(message["pid"])
            self.pid = message["pid"]
        elif "console" in message:
            self._tell({"console": True}, (descriptors[0],))
            os.close(descriptors[0])
        elif "failed" in message:
            self.failure = ProcessFailed.from_message(message["failed"])

    def _tell(self, message: protocol.Message, descriptors: tuple[int, ...] = ()) -> None:
        try:
            protocol.send(self.connection, message, descriptors)
        except OSError:
            return

    def _on_executed(self) -> None:
        """The channel has closed: the program runs, or something failed before."""
        self.loop.forget(self.channel.fileno())
        self.channel.close()
        if self.joiner:
            os.waitid(os.P_PID, self.joiner, os.WEXITED)
        if self.pidfd < 0 or self.failure is not None:
            self._fail(self.failure or ProcessFailed("it ended before its program ran", step="exec"))
            return
        self._tell({"running": self.pid})
        self.loop.watch(self.pidfd, self._on_exit)

    def _fail(self, failure: ProcessFailed) -> None:
        if self.pidfd >= 0:
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            os.close(self.pidfd)
        reply(self.connection, {"failed": failure.to_message()})

    def _on_exit(self) -> None:
        status = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        assert status is not None
        self.loop.forget(self.pidfd)
        os.close(self.pidfd)
        killed = status.si_code != os.CLD_EXITED
        reply(self.connection, {"exit_code": 128 + status.si_status if killed else status.si_status})


def begin_exec(
    connection: socket.socket, process: dict[str, Any], descriptors: tuple[int, ...], supervision: Supervision
) -> None:
    """Start `process` in the container; `descriptors` are its standard streams, none with a terminal."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    errand = Errand(process, descriptors, supervision.what)
    joiner = os.fork()
    if joiner == 0:
        ours.close()
        join_and_run(theirs, errand)
    theirs.close()
    Session(connection, ours, joiner, supervision.loop)
