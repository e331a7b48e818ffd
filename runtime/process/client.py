"""What the reconciler calls: make, start, watch, end and remove the process of a container. Synchronous.

Making one goes through the engine's launcher, which is started on first need; everything later goes to the
container's monitor, or straight to the kernel where no monitor is needed (signals, freezing, the truth about a pid).
Raises ProcessFailed (or NotRunning, its kind for a container that is not in the right phase).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal as signals
import sys
import time

from runtime.kernel import cgroup
from runtime.kernel import process as kernel_process
from runtime.layout import Layout
from runtime.process import protocol
from runtime.process.failure import NotRunning, ProcessFailed
from runtime.process.paths import ContainerPaths
from runtime.process.records import Created, ExitRecord, Phase, ProcessRecord, read_exit, read_state

LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launcher.py")

START_SECONDS = 10.0
"""How long a new launcher may take to answer."""


def ensure_launcher(layout: Layout) -> int:
    """Start the engine's launcher where there is none of this code; its pid."""
    reply, _ = _ask_launcher(layout, {"verb": "hello"})
    return int(reply["hello"])


def create(layout: Layout, name: str, *, early: bool = False) -> Created:
    """Make a container's init from its bundle; it waits for `start`. With `early`, mounts may still be being made."""
    message = {"verb": "create", "early": early, **ContainerPaths.of(layout, name).to_message()}
    reply, _ = _ask_launcher(layout, message)
    return Created(reply["pid"], reply["start_time"])


def start(layout: Layout, name: str) -> None:
    """Let a created container's init execute its program; returns once it does."""
    _ask_monitor(ContainerPaths.of(layout, name), {"verb": "start"})


def wait(layout: Layout, name: str, timeout: float | None = None) -> ExitRecord:
    """The container's exit record, once it has ended. Raises TimeoutError after `timeout` seconds."""
    paths = ContainerPaths.of(layout, name)
    try:
        return ExitRecord(**_ask_monitor(paths, {"verb": "wait"}, timeout)["exit"])
    except NotRunning:
        record = read_exit(paths.bundle)
        if record is None:
            raise
        return record


def kill(layout: Layout, name: str, signal: int, whole_tree: bool = False) -> bool:
    """Signal a container's init; with `whole_tree`, kill every process of its cgroup. False where it has ended."""
    paths = ContainerPaths.of(layout, name)
    if whole_tree and signal == signals.SIGKILL:
        cgroup.kill(paths.cgroup)
        return True
    state = read_state(paths.live)
    return state is not None and kernel_process.send_signal(state.pid, state.start_time, signal)


def delete(layout: Layout, name: str, force: bool = False) -> None:
    """Remove an ended container's live state and cgroup; with `force`, end it first. No such container is no error."""
    paths = ContainerPaths.of(layout, name)
    record = read_process(layout, name)
    if record is not None and not record.phase.can_delete:
        if not force:
            raise NotRunning(f"cannot delete {name}: it is {record.phase.value}", step="delete")
        kill(layout, name, signals.SIGKILL, whole_tree=True)
        wait(layout, name, 10.0)
    with contextlib.suppress(FileNotFoundError):
        cgroup.remove(paths.cgroup)
    shutil.rmtree(paths.live, ignore_errors=True)


def read_process(layout: Layout, name: str) -> ProcessRecord | None:
    """What is true of a container's process now, with or without its monitor. None where it never was made."""
    paths = ContainerPaths.of(layout, name)
    state = read_state(paths.live)
    ended = read_exit(paths.bundle)
    if ended is not None:
        return ProcessRecord(name, Phase.EXITED, 0, 0, 0.0, exit=ended)
    return state


def stop_launcher(layout: Layout) -> None:
    """End the engine's launcher, if there is one. Containers are not affected."""
    try:
        with open(f"{layout.launcher_socket}.lock") as file:
            pid = int(file.read() or "0")
    except FileNotFoundError:
        return
    started = kernel_process.start_time(pid) if pid else None
    descriptor = kernel_process.open_process(pid, started) if started is not None else None
    if descriptor is None:
        return
    try:
        signals.pidfd_send_signal(descriptor, signals.SIGTERM)
        kernel_process.wait_end(descriptor, START_SECONDS)
    finally:
        os.close(descriptor)


def _ask_launcher(layout: Layout, message: protocol.Message) -> tuple[protocol.Message, list[int]]:
    message = {**message, "code": protocol.fingerprint()}
    path = str(layout.launcher_socket)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            channel = protocol.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            _start_launcher(path)
            if time.monotonic() > deadline:
                raise ProcessFailed("the launcher does not answer", step="launcher", path=path) from None
            continue
        with channel:
            protocol.send(channel, message)
            received = protocol.receive(channel)
        if received is None:
            raise ProcessFailed("the launcher or the monitor ended without an answer", step="launcher", path=path)
        if "stale" not in received[0]:
            return _checked(received[0]), received[1]
        _wait_gone(received[0]["pid"])


def _wait_gone(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        kernel_process.wait_end(descriptor, START_SECONDS)
        os.close(descriptor)


def _checked(reply: protocol.Message) -> protocol.Message:
    if "failed" in reply:
        raise ProcessFailed.from_message(reply["failed"])
    return reply


def _start_launcher(path: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    reader, writer = os.pipe()
    try:
        os.set_inheritable(writer, True)
        arguments = [sys.executable, "-S", "-I", "-X", "utf8", LAUNCHER, path, str(writer)]
        pid = os.posix_spawn(sys.executable, arguments, {"PATH": os.defpath})
        os.close(writer)
        os.waitpid(pid, 0)
        os.read(reader, 1)
    finally:
        os.close(reader)


def _ask_monitor(paths: ContainerPaths, message: protocol.Message, timeout: float | None = None) -> protocol.Message:
    try:
        channel = protocol.connect(paths.socket)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(f"no monitor of {paths.name}", step=message["verb"], path=paths.socket) from None
    with channel:
        channel.settimeout(timeout)
        protocol.send(channel, message)
        received = protocol.receive(channel)
    if received is None:
        raise NotRunning(f"the monitor of {paths.name} ended", step=message["verb"], path=paths.socket)
    return _checked(received[0])
