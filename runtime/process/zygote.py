"""The zygote: a process that does nothing but fork monitors, so that they share its memory for good.

Forked from the launcher when that has imported everything. The launcher's own memory changes with its work, and what
it changes after a fork would count for the forked; the zygote's does not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from runtime.kernel import prctl
from runtime.kernel.process import close_all_but, pidfd_open, wait_end
from runtime.process import pair
from runtime.process.monitor import run_monitor
from runtime.process.pair import Pair

FORK = b"m"


class Zygote:
    """The launcher's end of it."""

    def __init__(self) -> None:
        self.channel, self.pid = fork_zygote()

    def fork_pair(self) -> Pair:
        """A new monitor, which makes itself a waiting init while we go on. A zygote that was killed is replaced."""
        try:
            pair.send_raw(self.channel, FORK)
            data, descriptors = pair.receive_raw(self.channel)
        except OSError:
            data, descriptors = b"", []
        if not data:
            self.channel.close()
            self.channel, self.pid = fork_zygote()
            return self.fork_pair()
        return Pair(socket.socket(fileno=descriptors[0]), pair.NUMBER.unpack(data)[0])

    def end(self, seconds: float) -> None:
        """Let it end, and wait until it has."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            descriptor = pidfd_open(self.pid)
            wait_end(descriptor, seconds)
            os.close(descriptor)


def fork_zygote() -> tuple[socket.socket, int]:
    """Fork it; it ends when the socket returned is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        run_and_end(lambda: _live(theirs))
    theirs.close()
    return ours, pid


def _live(channel: socket.socket) -> None:
    prctl.set_name("trimtab-zygote")
    close_all_but(channel.fileno())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # monitors are nobody's to reap but the kernel's
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while channel.recv(1):
        _fork_monitor(channel)


def _fork_monitor(channel: socket.socket) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        channel.close()
        ours.close()
        run_and_end(lambda: run_monitor(theirs, 0, in_advance=True))
    pair.send_raw(channel, pair.NUMBER.pack(pid), (ours.fileno(),))
    ours.close()
    theirs.close()


def run_and_end(life: Callable[[], None]) -> NoReturn:
    """In a fresh fork: live, and end whatever happens; what should not is told in the launcher's log."""
    code = 1
    try:
        life()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)
