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

from runtime.kernel import namespaces, prctl
from runtime.kernel.process import close_all_but, pidfd_open, wait_end
from runtime.process import monitor, pair
from runtime.process.pair import Pair
from runtime.process.standby import make_stage

FORK = b"m"

NAME = "trimtab-zygote"


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
    prctl.set_name(NAME)
    close_all_but(channel.fileno())
    # it ends when its channel does; and so do monitors, which inherit this, with their containers
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _reap_monitors()
    while channel.recv(1):
        _fork_monitor(channel)


def _fork_monitor(channel: socket.socket) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stage = make_stage(theirs, pair.REPORT)
    # for a moment we are what it is to be: what a monitor does not do itself costs it no memory
    prctl.set_name(monitor.NAME)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # not os.fork(), which puts in order what a process of one thread has in order
    pid, pidfd = namespaces.clone3(0)
    if pid == 0:
        channel.close()
        ours.close()
        run_and_end(lambda: monitor.run_monitor(theirs, 0, stage))
    prctl.set_name(NAME)
    _reap_monitors()
    pair.send_raw(channel, pair.NUMBER.pack(pid), (ours.fileno(),))
    os.close(pidfd)
    ours.close()
    theirs.close()
    if stage is not None:
        stage.close()


def _reap_monitors() -> None:
    """Monitors are nobody's to reap but the kernel's; and those that ended while we looked another way, ours."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


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
