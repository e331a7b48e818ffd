"""The zygote: a process that does nothing but fork monitors, so that they share its memory for good.

Forked from the launcher when that has imported everything. What a process writes to between two forks, the earlier
forked keep for themselves: so the launcher, which works, forks no monitors, and the zygote does nothing else.
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

FORK = b"m"

FORK_SECONDS = 10.0
"""How long a monitor may take to say its pid; one that does not was killed meanwhile, or its zygote."""

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
        if not descriptors:
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
    ours.settimeout(FORK_SECONDS)
    return ours, pid


def _live(channel: socket.socket) -> None:
    prctl.set_name(NAME)
    close_all_but(channel.fileno())
    # it ends when its channel does; and so do monitors, which inherit this, with their containers
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # monitors wait for their children; they are children of the launcher themselves, which leaves reaping to the kernel
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    seat = monitor.Seat()
    _fork_monitors(channel.fileno(), lambda: monitor.run_seated(seat, channel))


def _fork_monitors(channel: int, life: Callable[[], None]) -> None:
    """At each byte one that lives `life`. What is written here, each of them has for itself: so all is made ready."""
    read, fork = os.read, namespaces.light_fork(namespaces.CLONE_PARENT)
    while read(channel, 1):
        pid = fork()
        if pid == 0:
            run_and_end(life)
        if pid < 0:
            raise OSError("no monitor can be forked")


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
