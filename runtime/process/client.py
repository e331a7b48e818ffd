"""What the reconciler calls: make, start, watch, end and remove the process of a container. Synchronous.

Making one goes through the engine's launcher, which is started on first need; everything later goes to the
container's monitor, or straight to the kernel where no monitor is needed (signals, freezing, the truth about a pid).
Raises ProcessFailed, or its kind NotRunning for a container that is not in the right phase.
"""

from __future__ import annotations

import os
from typing import Any

from runtime.kernel import process as kernel_process
from runtime.layout import Layout
from runtime.process import attach_client, exec_client, lifecycle
from runtime.process.launching import ask_launcher, end_launcher
from runtime.process.paths import ContainerPaths
from runtime.process.protocol import Message
from runtime.process.records import Created, ExitRecord, ProcessRecord

LAUNCHER_CGROUP = ".launcher"
"""Beside the containers' cgroups; no container is called so."""


def ensure_launcher(layout: Layout) -> int:
    """Start the engine's launcher where there is none of this code; its pid."""
    return int(_ask(layout, {"verb": "hello"})["hello"])


def stop_launcher(layout: Layout) -> None:
    """End the engine's launcher, if there is one, and wait until it has gone. Containers are not affected."""
    end_launcher(str(layout.launcher_socket), layout.cgroup(LAUNCHER_CGROUP))


def _ask(layout: Layout, message: Message) -> Message:
    return ask_launcher(str(layout.launcher_socket), layout.cgroup(LAUNCHER_CGROUP), message)


def create(layout: Layout, name: str, *, early: bool = False) -> Created:
    """Make a container's init from its bundle; it waits for `start`.

    With `early`, returns as soon as the namespaces stand: mounts are still being made, and what fails then is raised
    by `start`.
    """
    paths = ContainerPaths.of(layout, name)
    message = {"verb": "create", "early": early, **paths.to_message()}
    lifecycle.wait_log_released(paths, str(layout.container_log(name)))
    reply = _ask(layout, message)
    return Created(reply["pid"], reply["start_time"])


def start(layout: Layout, name: str) -> None:
    """Let a created container's init execute its program; returns once it does."""
    lifecycle.start(ContainerPaths.of(layout, name))


def kill(layout: Layout, name: str, signal: int, whole_tree: bool = False) -> bool:
    """Signal a container's init, or with `whole_tree` all its processes. False where it has ended already."""
    return lifecycle.kill(ContainerPaths.of(layout, name), signal, whole_tree=whole_tree)


def stop(layout: Layout, name: str, signal: int, grace_seconds: float) -> ExitRecord:
    """Signal init, and after `grace_seconds` end the whole tree by force. How it ended, also if it had before."""
    return lifecycle.stop(ContainerPaths.of(layout, name), signal, grace_seconds)


def pause(layout: Layout, name: str) -> None:
    """Freeze every process of a running container. Paused already is no error."""
    lifecycle.pause(ContainerPaths.of(layout, name))


def resume(layout: Layout, name: str) -> None:
    """Let a paused container go on. Running already is no error."""
    lifecycle.resume(ContainerPaths.of(layout, name))


def wait(layout: Layout, name: str, timeout: float | None = None) -> ExitRecord:
    """The container's exit record, once it has ended. Raises TimeoutError after `timeout` seconds."""
    return lifecycle.wait(ContainerPaths.of(layout, name), timeout)


def delete(layout: Layout, name: str, force: bool = False) -> None:
    """Remove an ended container's live state and cgroup; with `force`, end it first. Nothing there is no error."""
    lifecycle.delete(ContainerPaths.of(layout, name), force=force)


def read_process(layout: Layout, name: str) -> ProcessRecord | None:
    """What is true of a container's process now, with or without its monitor. None where it never was made."""
    return lifecycle.read_process(ContainerPaths.of(layout, name))


def is_attended(layout: Layout, process: ProcessRecord) -> bool:
    """Whether its monitor lives and can be found by who wants to ask it something."""
    return has_monitor(process) and os.path.exists(ContainerPaths.of(layout, process.name).socket)


def has_monitor(process: ProcessRecord) -> bool:
    """Whether its monitor lives: without one nobody reads its output, and nobody will learn how it ends."""
    return kernel_process.is_alive(process.monitor_pid, process.monitor_start_time)


def exec_(
    layout: Layout,
    name: str,
    process: dict[str, Any],
    stdin: int,
    stdout: int,
    stderr: int,
    terminal: bool = False,
) -> int:
    """Run an OCI `process` in a running container on the caller's descriptors; its exit code (128 + signal)."""
    paths = ContainerPaths.of(layout, name)
    return exec_client.run(paths, {**process, "terminal": terminal}, (stdin, stdout, stderr))


def attach(
    layout: Layout, name: str, stdin: int | None, stdout: int, stderr: int, detach_keys: bytes = b""
) -> ExitRecord | None:
    """Join a container's streams until it ends, or `detach_keys` are typed (None then). `stdin` None only listens."""
    return attach_client.attach(ContainerPaths.of(layout, name), stdin, stdout, stderr, detach_keys)


def resize(layout: Layout, name: str, rows: int, columns: int) -> None:
    """Tell a container's terminal its size."""
    lifecycle.resize(ContainerPaths.of(layout, name), rows, columns)


def rotate(layout: Layout, name: str, max_size: int, max_file: int) -> None:
    """Rotate a living container's log at other limits from now on: bytes of one file, and files kept."""
    lifecycle.rotate(ContainerPaths.of(layout, name), max_size, max_file)
