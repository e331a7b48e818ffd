"""The way into a running container: join its cgroup and namespaces, then become the process to execute.

Two processes: the joiner enters the namespaces, which for a pid namespace only counts for its children, and makes the
second as a child of the caller. Container processes can see both: neither may be traced or read (they are not dumpable
until execve), and nothing of the host stays open in the second but its standard streams.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any, NoReturn

from runtime.kernel import cgroup, namespaces, prctl, terminal
from runtime.process import handover, protocol, stdio
from runtime.process.failure import step
from runtime.process.handover import Handover
from runtime.process.identity import become, keep_only, label, limit
from runtime.process.init import become_root, tell_failure
from runtime.process.seccomp_filter import Filter, read_filter
from runtime.process.signals import reset_signals


@dataclass(frozen=True, slots=True)
class Errand:
    """What to run where: the OCI `process`, its streams (none with a terminal), and the container."""

    process: dict[str, Any]
    streams: tuple[int, ...]
    container: Handover


def join_and_run(channel: socket.socket, errand: Errand) -> NoReturn:
    """In the joiner: enter the container, make the process, send its pid, end."""
    try:
        prctl.set_dumpable(False)
        facts = errand.container.facts()
        seccomp = read_filter(errand.container.read_spec(), facts.paths.seccomp)
        with step("cgroup", facts.paths.cgroup):
            cgroup.join(facts.paths.cgroup, facts.pid)
        limit(os.getpid(), errand.process)
        label(errand.process)
        with step("join namespaces"):
            flags = namespaces.foreign_namespaces(facts.pid)
            namespaces.setns(errand.container.get(handover.PIDFD), flags)
        with step("clone"):
            made, _ = namespaces.clone3(namespaces.CLONE_PARENT)
        if made == 0:
            _run(channel, errand, seccomp, own_users=bool(flags & namespaces.CLONE_NEWUSER))
        protocol.send(channel, {"pid": made})
        os._exit(0)
    except BaseException as error:
        tell_failure(channel, error, "exec")


def _run(channel: socket.socket, errand: Errand, seccomp: Filter | None, *, own_users: bool) -> NoReturn:
    try:
        os.setsid()
        if own_users:
            become_root()
        if errand.process.get("terminal"):
            _open_terminal(channel, errand.process)
        else:
            stdio.put_in_place((errand.streams[0], errand.streams[1], errand.streams[2]))
        reset_signals()
        channel = socket.socket(fileno=keep_only(channel.detach()))
        become(errand.process, seccomp)
    except BaseException as error:
        tell_failure(channel, error, "exec")


def _open_terminal(channel: socket.socket, process: dict[str, Any]) -> None:
    with step("console", "/dev/pts"):
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        master, slave = stdio.open_terminal(root, process)
        terminal.make_controlling(slave)
        stdio.put_in_place((slave, slave, slave))
    protocol.send(channel, {"console": True}, (master,))
