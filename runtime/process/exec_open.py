"""An exec whose streams the caller moves itself: pipes, or the master of a terminal made inside the container.

For an event loop, which cannot wait as `exec_client` does. Every descriptor is the caller's to close.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from runtime.layout import Layout
from runtime.process.asking import answered, open_monitor, talk
from runtime.process.paths import ContainerPaths
from runtime.process.protocol import receive


@dataclass(frozen=True, slots=True)
class OpenExec:
    """`channel` has something to read when the process has ended. With a terminal, `stdin` and `stdout` are the same
    descriptor and `stderr` is None."""

    name: str
    channel: socket.socket
    stdin: int
    stdout: int
    stderr: int | None

    def exit_code(self) -> int:
        """Once `channel` is readable. Raises NotRunning, ProcessFailed."""
        message, _ = answered(receive(self.channel), self.name, "exec")
        return int(message["exit_code"])

    def close(self) -> None:
        self.channel.close()
        for descriptor in {self.stdin, self.stdout, self.stderr} - {None}:
            try:
                os.close(descriptor)  # type: ignore[arg-type]
            except OSError:
                continue


def open_exec(layout: Layout, name: str, process: dict[str, Any]) -> OpenExec:
    """Start an OCI `process` in a running container; returns once its program runs. Raises as `exec_client`."""
    paths = ContainerPaths.of(layout, name)
    channel = open_monitor(paths, "exec")
    try:
        return _on_terminal(channel, name, process) if process.get("terminal") else _on_pipes(channel, name, process)
    except BaseException:
        channel.close()
        raise


def _on_terminal(channel: socket.socket, name: str, process: dict[str, Any]) -> OpenExec:
    _, received = talk(channel, name, {"verb": "exec", "process": process})
    master = received[0]
    try:
        answered(receive(channel), name, "exec")
    except BaseException:
        os.close(master)
        raise
    os.set_blocking(master, False)
    return OpenExec(name, channel, master, master, None)


def _on_pipes(channel: socket.socket, name: str, process: dict[str, Any]) -> OpenExec:
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
    theirs = (pipes[0][0], pipes[1][1], pipes[2][1])
    ours = (pipes[0][1], pipes[1][0], pipes[2][0])
    try:
        talk(channel, name, {"verb": "exec", "process": process}, theirs)
    except BaseException:
        for descriptor in ours:
            os.close(descriptor)
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    for descriptor in ours:
        os.set_blocking(descriptor, False)
    return OpenExec(name, channel, *ours)
