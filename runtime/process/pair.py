"""A monitor and its waiting init, as seen by who makes a container of them: the launcher, or a process of its own.

Over one socket the monitor first reports its init (`i`), clones another on request (`c`: plain flags, `j`: all else)
and at last takes the finished container over. Closing the socket before that ends both.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from runtime.kernel.process import is_alive, pidfd_open, start_time, wait_end
from runtime.process import standby
from runtime.process.cloning import Order
from runtime.process.failure import ProcessFailed

REPORT, NOTHING, FAILED, CLONE, ANY_CLONE = b"i", b"n", b"f", b"c", b"j"
NUMBER = struct.Struct("<Q")
MESSAGE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Init:
    """A container's init, cloned and waiting to be told what it will be."""

    pid: int
    pidfd: int
    channel: socket.socket


class Pair:
    """One monitor, by its socket, and its init, once it has been asked for."""

    __slots__ = ("channel", "init", "monitor", "started")

    def __init__(self, channel: socket.socket, monitor: int) -> None:
        self.channel = channel
        self.monitor = monitor
        self.started = start_time(monitor)
        self.init: Init | None = None

    def take_init(self, order: Order, cgroup: int | None) -> Init:
        """The waiting init if it lives and is what is ordered, else one that is, born in `cgroup` if that is one's
        descriptor."""
        reported = self._receive()
        if reported is not None and order == standby.ORDER and cgroup is None and not wait_end(reported.pidfd, 0):
            self.init = reported
            return reported
        if reported is not None:
            reported.channel.close()
            os.close(reported.pidfd)
        if order == Order(order.flags):
            self._send(CLONE + NUMBER.pack(order.flags), cgroup)
        else:
            self._send(ANY_CLONE + json.dumps(asdict(order)).encode(), cgroup)
        self.init = self._receive()
        if self.init is None:
            raise ProcessFailed("the monitor ended meanwhile", step="clone")
        return self.init

    def _send(self, data: bytes, descriptor: int | None) -> None:
        send_raw(self.channel, data, () if descriptor is None else (descriptor,))

    def _receive(self) -> Init | None:
        data, descriptors = receive_raw(self.channel)
        if data[:1] == FAILED:
            raise ProcessFailed.from_message(json.loads(data[1:]))
        if data[:1] != REPORT:
            return None
        return Init(NUMBER.unpack(data[1:])[0], descriptors[0], socket.socket(fileno=descriptors[1]))

    def is_waiting(self) -> bool:
        """Whether the monitor lives. Its init holds the other end of the channel too, so that tells nothing."""
        return self.started is not None and is_alive(self.monitor, self.started)

    def descriptors(self) -> set[int]:
        """What has to stay open as long as they wait."""
        return {self.channel.fileno()}

    def wait_end(self, seconds: float) -> None:
        """Wait until the monitor has ended."""
        with contextlib.suppress(ProcessLookupError):
            monitor = pidfd_open(self.monitor)
            wait_end(monitor, seconds)
            os.close(monitor)

    def dismiss(self) -> None:
        """Let both end."""
        self.channel.close()
        if self.init is not None:
            self.init.channel.close()


def send_raw(channel: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    """One datagram that is not JSON."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    channel.sendmsg([data], rights, socket.MSG_NOSIGNAL)


def receive_raw(channel: socket.socket) -> tuple[bytes, list[int]]:
    """One datagram and its descriptors; nothing at the end."""
    try:
        return _receive_once(channel)
    except ConnectionResetError:
        # the other side has closed without reading all of ours: what it sent before is still to be had
        return _receive_once(channel)


def _receive_once(channel: socket.socket) -> tuple[bytes, list[int]]:
    data, rights, _, _ = channel.recvmsg(MESSAGE_BYTES, socket.CMSG_SPACE(250 * 4), socket.MSG_CMSG_CLOEXEC)
    return data, list(array.array("i", rights[0][2])) if rights else []
