"""Terminals of the command face: handed to a console socket, or shown on the caller's own in the foreground."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from types import FrameType

from runtime.kernel.process import exit_status
from runtime.process import protocol
from runtime.process.copying import Copier, pass_size, raw_terminal

FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Console:
    """The foreground of `run`: receives the container's terminal, if it has one, and waits for its end."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    @property
    def descriptor(self) -> int:
        """Where the terminal is to be sent."""
        return self.theirs.fileno()

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self.ours.close()
        self.theirs.close()

    def wait_for(self, pid: int) -> int:
        """The exit code of our child `pid`; signals sent to us go to it meanwhile."""
        self.theirs.close()
        received = protocol.receive(self.ours)
        pidfd = os.pidfd_open(pid)

        def forward(number: int, frame: FrameType | None) -> None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)

        before = {number: signal.signal(number, forward) for number in FORWARDED}
        try:
            copy_until_end(pidfd, received[1][0] if received else -1)
            return exit_code(pidfd)
        finally:
            for number, action in before.items():
                signal.signal(number, action)
            os.close(pidfd)


def copy_until_end(pidfd: int, master: int) -> None:
    """Show a terminal (-1: none) on our standard streams until the process has ended."""
    copier = Copier()
    try:
        if master >= 0:
            copier.add(0, os.dup(master), owns_target=True)
            copier.add(master, 1, owns_source=True)
        with raw_terminal(0 if master >= 0 else -1, lambda rows, columns: pass_size(master, rows, columns)):
            copier.run_until(pidfd)
            copier.finish()
    finally:
        copier.close()


def exit_code(pidfd: int) -> int:
    """How our child ended, as a shell would say it."""
    status = exit_status(pidfd)
    code = os.waitstatus_to_exitcode(status) if status is not None else 255
    return code if code >= 0 else 128 - code
