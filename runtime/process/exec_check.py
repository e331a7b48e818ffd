"""One short command in a container: its exit code and the end of its output, within a time. For health checks."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Any

from runtime.kernel.process import pidfd_open
from runtime.layout import Layout
from runtime.process.asking import answered, open_monitor, talk
from runtime.process.paths import ContainerPaths
from runtime.process.protocol import receive

KEPT_BYTES = 4096
END_SECONDS = 2.0


def check_by(layout: Layout, name: str, process: dict[str, Any], timeout: float) -> tuple[int | None, bytes]:
    """Run an OCI `process`; None for its exit code where it had to be killed after `timeout` seconds.

    Raises NotRunning, ProcessFailed.
    """
    deadline = time.monotonic() + timeout
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        os.set_blocking(reader, False)
        with open_monitor(ContainerPaths.of(layout, name), "exec") as channel:
            started, _ = talk(channel, name, {"verb": "exec", "process": process}, (nothing, writer, writer))
            os.close(writer)
            writer = -1
            pid = int(started["running"]) if "running" in started else 0
            output, ended = _read(reader, channel.fileno(), deadline)
            if not ended:
                _kill(pid)
                channel.settimeout(END_SECONDS)
                return None, output
            message, _ = answered(receive(channel), name, "exec")
            return int(message["exit_code"]), output
    finally:
        for descriptor in (nothing, reader, writer):
            if descriptor >= 0:
                os.close(descriptor)


def _read(reader: int, channel: int, deadline: float) -> tuple[bytes, bool]:
    """The end of the output, and whether the command ended in time. What it left running may hold the pipe open."""
    output = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(channel, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, left) * 1000)}
        if reader in ready:
            data = _take(reader)
            output = (output + data)[-KEPT_BYTES:]
            if not data:
                poll.unregister(reader)
        if channel in ready:
            return (output + _take(reader))[-KEPT_BYTES:], True
        if left <= 0:
            return output, False


def _take(reader: int) -> bytes:
    try:
        return os.read(reader, 1 << 16)
    except BlockingIOError:
        return b""


def _kill(pid: int) -> None:
    if pid <= 0:
        return
    try:
        descriptor = pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
