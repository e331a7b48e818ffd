"""The monitor: one process per container, parent of its init, owner of its streams, writer of its exit record.

Forked from the launcher for one request. It answers on that request's connection, then on its own socket, until the
container has ended. Nobody needs it to be observed or killed: both work by pid and start time. It leaves last.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
from typing import NoReturn

from runtime.kernel import cgroup, prctl
from runtime.process import hooks, protocol
from runtime.process.birth import bear
from runtime.process.bundle import Spec, read_bundle
from runtime.process.failure import ProcessFailed, step
from runtime.process.init import Birth
from runtime.process.log_write import open_log
from runtime.process.namespace_plan import plan_namespaces
from runtime.process.paths import ContainerPaths
from runtime.process.requests import serve
from runtime.process.seccomp_filter import read_filter
from runtime.process.sources import host_id
from runtime.process.stdio import Streams, make_pipes
from runtime.process.supervision import Supervision, reply

STDIN_ANNOTATION = "trimtab/stdin_open"


def run_monitor(connection: socket.socket, message: protocol.Message, descriptors: list[int]) -> NoReturn:
    """Make the container a request asks for and stay until it has ended."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        prctl.set_name("trimtab-monitor")
        _watch_over(connection, ContainerPaths.from_message(message), bool(message.get("early")))
        code = 0
    finally:
        os._exit(code)


def _watch_over(connection: socket.socket, paths: ContainerPaths, early: bool) -> None:
    try:
        spec = read_bundle(paths.bundle)
        server = _make_live(paths)
        supervision = _make(connection, paths, spec)
    except BaseException as error:
        undo(paths)
        failure = error if isinstance(error, ProcessFailed) else ProcessFailed(repr(error), step="monitor")
        reply(connection, {"failed": failure.to_message()})
        return
    serve(server, supervision)
    if early:
        supervision.answer_creator()
    supervision.run()
    _clean_up(paths, spec)


def _make_live(paths: ContainerPaths) -> socket.socket:
    with step("live directory", paths.live):
        os.makedirs(paths.live, mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{paths.bundle}/exit.json")
    with step("socket", paths.socket):
        return protocol.listen(paths.socket)


def _make(connection: socket.socket, paths: ContainerPaths, spec: Spec) -> Supervision:
    seccomp = read_filter(spec, f"{os.path.dirname(os.path.dirname(paths.live))}/seccomp")
    log = open_log(spec)
    streams = _open_streams(spec)
    state = hooks.oci_state(paths.name, "creating", 0, paths.bundle, spec)
    birth = Birth(spec, plan_namespaces(spec), streams, seccomp, state)
    init = bear(birth, paths)
    return Supervision(paths, birth, init, log, connection)


def _open_streams(spec: Spec) -> Streams:
    if spec["process"].get("terminal"):
        return Streams()
    user = spec["process"].get("user") or {}
    owner = (host_id(spec, "uidMappings", user.get("uid", 0)), host_id(spec, "gidMappings", user.get("gid", 0)))
    return make_pipes(owner, stdin=(spec.get("annotations") or {}).get(STDIN_ANNOTATION) == "true", output=True)


def undo(paths: ContainerPaths) -> None:
    """Take away what a container that was not made has left: live directory and cgroup."""
    with contextlib.suppress(OSError):
        cgroup.remove(paths.cgroup)
    shutil.rmtree(paths.live, ignore_errors=True)


def _clean_up(paths: ContainerPaths, spec: Spec) -> None:
    """After everybody knows how it ended."""
    with contextlib.suppress(OSError):
        cgroup.remove(paths.cgroup)
    hooks.run_all_hooks(spec, "poststop", hooks.oci_state(paths.name, "stopped", 0, paths.bundle, spec))
    with contextlib.suppress(OSError):
        os.unlink(paths.socket)
