"""The creator: makes one container's cgroup, streams and init, sees it through to its program, and ends.

Forked together with the monitor, before anybody asks: `create` finds both waiting. What fails here is answered to the
client at once, and everything made is taken away again. Decides nothing about a container that runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from typing import Any

from runtime.kernel import prctl
from runtime.kernel.process import is_alive
from runtime.process import handover, hooks, protocol
from runtime.process.birth import bear
from runtime.process.bundle import Spec, open_bundle
from runtime.process.creation import Creation, Made
from runtime.process.failure import NotRunning, ProcessFailed, step
from runtime.process.handover import hand_over
from runtime.process.init import Birth
from runtime.process.log_write import lock_log, log_settings
from runtime.process.namespace_plan import plan_namespaces
from runtime.process.paths import ContainerPaths, undo
from runtime.process.records import read_state
from runtime.process.sources import host_id
from runtime.process.standby import Standby
from runtime.process.stdio import Streams, make_pipes

STDIN_ANNOTATION = "trimtab/stdin_open"


def run_creator(
    monitor: socket.socket,
    monitor_pid: int,
    message: protocol.Message,
    descriptors: list[int],
    standby: Standby | None = None,
) -> None:
    """Make the container a request asks for, and hand it over to the monitor once its program runs.

    `descriptors` are the connection to answer on, then given streams. Init becomes a child of the caller's parent: it
    is `standby`, if that one fits.
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
        made = _make(paths, descriptors[1:], lock, standby)
    except BaseException as error:
        undo(paths)
        _refuse(connection, error)
        return
    made.monitor = monitor_pid
    made.console = message.get("console")
    _see_through(Creation(made, connection), monitor, early=bool(message.get("early")))


def _see_through(creation: Creation, monitor: socket.socket, *, early: bool) -> None:
    if early:
        creation.answer_creator()
    what = creation.run()
    if what is not None:
        hand_over(monitor, what)
        # the locks above all: they must fall with the monitor, and our own end may take a while
        for _, descriptor in what.descriptors:
            os.close(descriptor)
        creation.after_start()
        return
    creation.end_init()
    if creation.creator is not None:
        undo(creation.made.paths)
        _refuse(creation.creator, creation.why_not())


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


def _make(paths: ContainerPaths, given: list[int], lock: int, standby: Standby | None) -> Made:
    spec, config = open_bundle(paths.bundle)
    log = log_settings(spec)
    log_lock = lock_log(log) if log else -1
    plan = plan_namespaces(spec)
    server = _listen(paths)
    streams = _open_streams(spec, given)
    state = hooks.oci_state(paths.name, "creating", 0, paths.bundle, spec)
    init = bear(Birth(spec, plan, streams, state), paths, config, standby)
    descriptors = [(handover.BUNDLE, config), (handover.LOCK, lock), (handover.LOG_LOCK, log_lock)]
    if standby is not None and init.pidfd != standby.pidfd:
        descriptors.append((handover.JOINER, standby.pidfd))
    return Made(paths, spec, init, streams, server, 0, log, descriptors=descriptors)


def _listen(paths: ContainerPaths) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{paths.record}/exit.json")
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
