"""The clone of an init, by the monitor whose child it is to be: in new namespaces, in joined ones, with other clocks.

What is cloned here waits, whatever it will become: `init.run_init` tells its life. A namespace given by path is joined
by a short-lived child of ours, which then makes init as its sibling: a monitor never leaves the host's namespaces.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.kernel import namespaces
from runtime.process import protocol
from runtime.process.failure import ProcessFailed, step
from runtime.process.namespace_plan import join_all


@dataclass(frozen=True, slots=True)
class Order:
    """What to clone: flags of clone3(2), the (kind, path) to join first, clocks to set in a new time namespace.

    With `keep_tree` init goes on seeing the host's files until it enters its root: hooks of that moment lie there.
    """

    flags: int
    joins: tuple[tuple[str, str], ...] = ()
    clocks: dict[str, Any] | None = None
    keep_tree: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether one clone3 is all."""
        return not self.joins and self.clocks is None


@dataclass(frozen=True, slots=True)
class Cloned:
    """A new init: its pid, its pidfd, and our end of the socket it listens on."""

    pid: int
    pidfd: int
    channel: socket.socket


def clone_init(order: Order, life: Callable[[socket.socket], None], cgroup: int | None, extra_flags: int) -> Cloned:
    """Clone an init whose life is `life`; `cgroup` is the descriptor of a v2 cgroup for it to be born in."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        if order.is_plain:
            with step("clone"):
                pid, pidfd = namespaces.clone3(order.flags | extra_flags, cgroup)
            if pid == 0:
                ours.close()
                life(theirs)
                os._exit(1)
        else:
            pid = _clone_by_joiner(order, life, cgroup, ours, theirs)
            pidfd = os.pidfd_open(pid)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Cloned(pid, pidfd, ours)


def _clone_by_joiner(
    order: Order, life: Callable[[socket.socket], None], cgroup: int | None, ours: socket.socket, theirs: socket.socket
) -> int:
    answers, answer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with answers:
        joiner, joiner_pidfd = namespaces.clone3(0)
        if joiner == 0:
            answers.close()
            pid = _join(answer, order, cgroup)
            if pid == 0:
                answer.close()
                ours.close()
                life(theirs)
            os._exit(0)
        answer.close()
        received = protocol.receive(answers)
    os.waitid(os.P_PIDFD, joiner_pidfd, os.WEXITED)
    os.close(joiner_pidfd)
    if received is None:
        raise ProcessFailed("the joining process died", step="join namespaces")
    if "failed" in received[0]:
        raise ProcessFailed.from_message(received[0]["failed"])
    return int(received[0]["pid"])


def _join(answer: socket.socket, order: Order, cgroup: int | None) -> int:
    """In the joiner: 0 in the init it has made, else its pid, or -1."""
    try:
        join_all(order.joins)
        if order.clocks is not None:
            _make_time_namespace(order.clocks)
        with step("clone"):
            pid, _ = namespaces.clone3(order.flags | namespaces.CLONE_PARENT, cgroup)
    except ProcessFailed as failure:
        protocol.send(answer, {"failed": failure.to_message()})
        return -1
    if pid:
        protocol.send(answer, {"pid": pid})
    return pid


def _make_time_namespace(clocks: dict[str, dict[str, int]]) -> None:
    with step("time namespace"):
        # for children only, so that its clocks can still be set (time_namespaces(7))
        namespaces.unshare(namespaces.CLONE_NEWTIME)
        text = "".join(
            f"{clock} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}\n" for clock, offset in clocks.items()
        )
        if text:
            descriptor = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)


def end_waiting(cloned: Cloned) -> None:
    """Kill and reap an init that is not wanted; one that is somebody else's child is not ours to reap."""
    cloned.channel.close()
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        signal.pidfd_send_signal(cloned.pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, cloned.pidfd, os.WEXITED)
    os.close(cloned.pidfd)
