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
from runtime.process import protocol
from runtime.process.birth import bear
from runtime.process.bundle import Spec, read_bundle
from runtime.process.failure import ProcessFailed, step
from runtime.process.log_write import open_log
from runtime.process.paths import ContainerPaths
from runtime.process.sources import host_id
from runtime.process.stdio import Streams, make_pipes
from runtime.process.supervision import Supervision


def run_monitor(connection: socket.socket, message: protocol.Message, descriptors: list[int]) -> NoReturn:
    """Make the container a request asks for and stay until it has ended."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        paths = ContainerPaths.from_message(message)
        prctl.set_name("trimtab-monitor")
        supervision = _create(connection, paths, message)
        if supervision is not None:
            supervision.run()
        code = 0
    finally:
        os._exit(code)


def _create(connection: socket.socket, paths: ContainerPaths, message: protocol.Message) -> Supervision | None:
    try:
        return _make(connection, paths, message)
    except ProcessFailed as failure:
        undo(paths)
        with contextlib.suppress(OSError):
            protocol.send(connection, {"failed": failure.to_message()})
    except BaseException as error:
        undo(paths)
        with contextlib.suppress(OSError):
            failed = ProcessFailed(f"{type(error).__name__}: {error}", step="monitor")
            protocol.send(connection, {"failed": failed.to_message()})
        raise
    return None


def undo(paths: ContainerPaths) -> None:
    """Take away what a container that was not made has left: live directory and cgroup."""
    with contextlib.suppress(OSError):
        cgroup.remove(paths.cgroup)
    shutil.rmtree(paths.live, ignore_errors=True)


def _make(connection: socket.socket, paths: ContainerPaths, message: protocol.Message) -> Supervision:
    spec = read_bundle(paths.bundle)
    with step("live directory", paths.live):
        os.makedirs(paths.live, mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{paths.bundle}/exit.json")
    server = protocol.listen(paths.socket)
    streams = _open_streams(spec)
    init = bear(spec, paths, streams)
    return Supervision(
        paths, spec, init, streams, server, connection, open_log(spec, streams), bool(message.get("early"))
    )


def _open_streams(spec: Spec) -> Streams:
    if spec["process"].get("terminal"):
        return Streams()
    user = spec["process"].get("user") or {}
    owner = (host_id(spec, "uidMappings", user.get("uid", 0)), host_id(spec, "gidMappings", user.get("gid", 0)))
    annotations = spec.get("annotations") or {}
    return make_pipes(owner, stdin=annotations.get("trimtab/stdin_open") == "true", output=True)
