"""A monitor and its creator, forked in advance and waiting: what a launcher spends on a request is one message.

The creator is the monitor's child, so that what it clones with CLONE_PARENT is the monitor's child too. The monitor's
memory stays as small as at its fork, because everything costly happens in the creator.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable

from runtime.kernel.process import close_all_but, populate_memory, wait_end
from runtime.process import protocol
from runtime.process.creator import run_creator
from runtime.process.init import run_standby
from runtime.process.monitor import run_monitor
from runtime.process.standby import make_standby

DISMISS_SECONDS = 2.0


class Pair:
    """One monitor and one creator that wait for the request they will serve."""

    __slots__ = ("channel", "monitor")

    def __init__(self, channel: socket.socket, monitor: int) -> None:
        self.channel = channel
        self.monitor = monitor

    def begin(self, message: protocol.Message, descriptors: tuple[int, ...]) -> None:
        """Let them make a container. They never come back."""
        # a pair that was killed meanwhile: the client sees its connection close
        with self.channel, contextlib.suppress(OSError):
            protocol.send(self.channel, message, descriptors)

    def dismiss(self) -> None:
        """Let them end, and wait until they have."""
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            monitor = os.pidfd_open(self.monitor)
            wait_end(monitor, DISMISS_SECONDS)


def fork_pair() -> Pair:
    """Fork a monitor, and from it a creator."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monitor = os.fork()
    if monitor == 0:
        _run_and_end(lambda: _become_monitor(ours, theirs))
    theirs.close()
    return Pair(ours, monitor)


def _run_and_end(life: Callable[[], None]) -> None:
    code = 1
    try:
        life()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _become_monitor(launcher: socket.socket, requests: socket.socket) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    launcher.detach()
    # the launcher's socket, its lock and whoever is connected to it: a monitor outlives it and must hold none of them
    close_all_but(requests.fileno())
    monitor, creator = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    own = os.getpid()
    child = os.fork()
    if child == 0:
        monitor.close()
        _run_and_end(lambda: _become_creator(requests, creator, own))
    requests.close()
    creator.close()
    run_monitor(monitor, child)


def _become_creator(requests: socket.socket, monitor: socket.socket, monitor_pid: int) -> None:
    standby = None
    # asked for already: whoever asked must not wait for what would make it faster another time
    if not select.select([requests], [], [], 0)[0]:
        standby = make_standby(run_standby)
        populate_memory()
    received = protocol.receive(requests)
    requests.close()
    # else the launcher has ended, or was never asked
    if received is not None:
        run_creator(monitor, monitor_pid, *received, standby)
