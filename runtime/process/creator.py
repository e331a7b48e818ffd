"""The creator: makes one container's cgroup, streams and init, hands them to the monitor, and ends.

Forked together with the monitor, before anybody asks: `create` finds both waiting. What fails here is answered to the
client at once, and everything made is taken away again. Decides nothing about a container that exists.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from typing import Any

from runtime.kernel import prctl
from runtime.kernel.process import is_alive
from runtime.process import hooks, protocol
from runtime.process.birth import bear
from runtime.process.bundle import Spec, open_bundle
from runtime.process.failure import NotRunning, ProcessFailed, step
from runtime.process.handover import Handover, hand_over
from runtime.process.init import Birth
from runtime.process.log_write import log_settings
from runtime.process.namespace_plan import plan_namespaces
from runtime.process.paths import ContainerPaths, undo
from runtime.process.records import read_state
from runtime.process.seccomp_filter import read_filter
from runtime.process.sources import host_id
from runtime.process.stdio import Streams, make_pipes

STDIN_ANNOTATION = "trimtab/stdin_open"


def run_creator(monitor: socket.socket, message: protocol.Message, descriptors: list[int], *, sibling: bool) -> None:
    """Make the container a request asks for; `descriptors` are the connection to answer on, then given streams.

    With `sibling`, init becomes a child of the caller's parent, the monitor; else the caller's own.
    """
    prctl.set_name("trimtab-creator")
    connection = socket.socket(fileno=descriptors[0])
    paths = ContainerPaths.from_message(message)
    try:
        lock = _claim(paths)
    except ProcessFailed as failure:
        _refuse(connection, failure)
        return
    try:
        made = _make(paths, message, descriptors[1:], lock, sibling=sibling)
    except BaseException as error:
        undo(paths)
        _refuse(connection, error)
        return
    if message.get("early"):
        with contextlib.suppress(OSError):
            protocol.send(connection, {"pid": made.pid, "start_time": made.start_time})
    else:
        made.creator = connection.fileno()
    hand_over(monitor, made)


def _refuse(connection: socket.socket, error: BaseException) -> None:
    failure = error if isinstance(error, ProcessFailed) else ProcessFailed(repr(error), step="create")
    with contextlib.suppress(OSError):
        protocol.send(connection, {"failed": failure.to_message()})


def _claim(paths: ContainerPaths) -> int:
    """Make the live directory and lock it for as long as the container has a monitor."""
    state = read_state(paths.live)
    if state is not None and is_alive(state.pid, state.start_time):
        raise NotRunning(f"{paths.name} exists already", step="create")
    with step("live directory", paths.live):
        os.makedirs(paths.live, mode=0o700, exist_ok=True)
        lock = os.open(f"{paths.live}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise NotRunning(f"{paths.name} exists already", step="create") from None
    return lock


def _make(paths: ContainerPaths, message: protocol.Message, given: list[int], lock: int, *, sibling: bool) -> Handover:
    spec, config = open_bundle(paths.bundle)
    log = log_settings(spec)
    plan = plan_namespaces(spec)
    server = _listen(paths)
    seccomp = read_filter(spec, paths.seccomp)
    streams = _open_streams(spec, given)
    state = hooks.oci_state(paths.name, "creating", 0, paths.bundle, spec)
    init = bear(Birth(spec, plan, streams, seccomp, state), paths, sibling=sibling)
    return Handover(
        paths,
        init.pid,
        init.start_time,
        init.pidfd,
        init.channel.detach(),
        server.detach(),
        config,
        lock,
        stdout=streams.stdout,
        stderr=streams.stderr,
        stdin=streams.stdin,
        log=log,
        hooks=frozenset(kind for kind, listed in (spec.get("hooks") or {}).items() if listed),
    )


def _listen(paths: ContainerPaths) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{paths.bundle}/exit.json")
    with step("socket", paths.socket):
        return protocol.listen(paths.socket)


def _open_streams(spec: Spec, given: list[int]) -> Streams:
    if spec["process"].get("terminal"):
        return Streams()
    if given:
        return Streams((given[0], given[1], given[2]), preserved=tuple(given[3:]))
    annotations: dict[str, Any] = spec.get("annotations") or {}
    user = spec["process"].get("user") or {}
    owner = (host_id(spec, "uidMappings", user.get("uid", 0)), host_id(spec, "gidMappings", user.get("gid", 0)))
    return make_pipes(owner, stdin=annotations.get(STDIN_ANNOTATION) == "true")
