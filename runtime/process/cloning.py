"""The clone itself, where namespaces are joined or clocks set as well as where all are new.

A namespace given by path is joined by a short-lived child, which then makes init as a sibling of its own: the
caller never leaves the host's namespaces.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from runtime.kernel import namespaces
from runtime.process import protocol
from runtime.process.bundle import Spec
from runtime.process.failure import ProcessFailed, step
from runtime.process.namespace_plan import NamespacePlan, join_all


@dataclass(frozen=True, slots=True)
class Cloned:
    """A new init, 0 in itself; `joiner` is the pidfd of the process that made it, -1 where that was the caller."""

    pid: int
    pidfd: int = -1
    joiner: int = -1


def clone_init(plan: NamespacePlan, spec: Spec, cgroup: int | None) -> Cloned:
    """Make init as a child of the caller's parent. `cgroup` is the descriptor of a v2 cgroup for it to be born in."""
    if not plan.joins and not plan.makes("time"):
        with step("clone"):
            return Cloned(*namespaces.clone3(plan.flags | namespaces.CLONE_PARENT, cgroup))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        # a sibling of ours too, so that its own sibling, init, is a child of our parent
        joiner, joiner_pidfd = namespaces.clone3(namespaces.CLONE_PARENT)
        if joiner == 0:
            if _join(ours, theirs, plan, spec, cgroup) == 0:
                return Cloned(0)
            os._exit(0)
        theirs.close()
        received = protocol.receive(ours)
    if received is None:
        raise ProcessFailed("the joining process died", step="join namespaces")
    message = received[0]
    if "failed" in message:
        raise ProcessFailed.from_message(message["failed"])
    pid = int(message["pid"])
    return Cloned(pid, os.pidfd_open(pid), joiner_pidfd)


def _join(ours: socket.socket, theirs: socket.socket, plan: NamespacePlan, spec: Spec, cgroup: int | None) -> int:
    """In the joiner: 0 in the init it has made, 1 in itself."""
    ours.close()
    try:
        join_all(plan.joins)
        if plan.makes("time"):
            _make_time_namespace((spec.get("linux") or {}).get("timeOffsets") or {})
        with step("clone"):
            pid, _ = namespaces.clone3(plan.flags | namespaces.CLONE_PARENT, cgroup)
    except ProcessFailed as failure:
        protocol.send(theirs, {"failed": failure.to_message()})
        return 1
    if pid:
        protocol.send(theirs, {"pid": pid})
    theirs.close()
    return pid and 1


def _make_time_namespace(offsets: dict[str, dict[str, int]]) -> None:
    with step("time namespace"):
        # for children only, so that its clocks can still be set (time_namespaces(7))
        namespaces.unshare(namespaces.CLONE_NEWTIME)
        text = "".join(
            f"{clock} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}\n" for clock, offset in offsets.items()
        )
        if text:
            descriptor = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
