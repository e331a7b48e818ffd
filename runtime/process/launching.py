"""The client's half of the launcher: find it, start it where there is none of this code, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from runtime.kernel import cgroup
from runtime.kernel import process as kernel_process
from runtime.process import protocol
from runtime.process.failure import ProcessFailed

LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py")

START_SECONDS = 30.0
"""How long a new launcher may take to answer, and an old one to go."""


def ask_launcher(
    path: str, cgroup_path: str, message: protocol.Message, descriptors: tuple[int, ...] = ()
) -> protocol.Message:
    """Send a request to the launcher at `path`, started where needed; the answer, which may be its monitor's.

    `cgroup_path` is where a new launcher puts itself.
    """
    code = protocol.fingerprint()
    deadline = time.monotonic() + START_SECONDS
    while True:
        received = _try(path, {**message, "code": code}, descriptors)
        if received is not None and "stale" not in received:
            if "failed" in received:
                raise ProcessFailed.from_message(received["failed"])
            return received
        if time.monotonic() > deadline:
            raise ProcessFailed("the launcher does not answer", step="launcher", path=path)
        if received is None:
            _start(path, cgroup_path)
        elif received["stale"] == protocol.read_fingerprint() and _speaks(received["stale"]):
            # it is we who are old: a long-lived client whose code was replaced under it
            code = received["stale"]
        else:
            with contextlib.suppress(ProcessFailed):
                _try(path, {"verb": "leave", "code": received["stale"]}, ())
            _wait_gone(received["pid"])


def _speaks(code: str) -> bool:
    """Whether code of this name understands our protocol."""
    return code.partition("-")[0] == str(protocol.PROTOCOL)


def _try(path: str, message: protocol.Message, descriptors: tuple[int, ...]) -> protocol.Message | None:
    """The answer; None where no launcher listens."""
    try:
        channel = protocol.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    with channel:
        try:
            protocol.send(channel, message, descriptors)
            received = protocol.receive(channel)
        except (BrokenPipeError, ConnectionResetError):
            # it left between two requests, before it read this one
            return None
    if received is None:
        raise ProcessFailed("the monitor ended without an answer", step=message["verb"], path=path)
    return received[0]


def _wait_gone(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = kernel_process.pidfd_open(pid)
        try:
            kernel_process.wait_end(descriptor, START_SECONDS)
        finally:
            os.close(descriptor)


def _start(path: str, cgroup_path: str) -> None:
    """Start a launcher and wait until it, or one that was quicker, listens."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    reader, writer = os.pipe()
    try:
        os.set_inheritable(writer, True)
        arguments = [sys.executable, "-S", "-I", "-X", "utf8", LAUNCHER, path, cgroup_path, str(writer)]
        pid = os.posix_spawn(sys.executable, arguments, {"PATH": os.defpath})
        os.close(writer)
        writer = -1
        os.waitpid(pid, 0)
        if not os.read(reader, 1):
            raise ProcessFailed(f"it ended before it listened; {path}.log may say why", step="launcher", path=path)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def end_launcher(path: str, cgroup_path: str) -> None:
    """End the launcher at `path`, if there is one, and wait until it has gone. Containers are not affected."""
    _end(path)
    # monitors may live in it still: then it stays, for the next launcher to use or to take away
    with contextlib.suppress(OSError):
        if not cgroup.processes(cgroup_path):
            cgroup.remove(cgroup_path)


def _end(path: str) -> None:
    try:
        with open(f"{path}.lock") as file:
            pid = int(file.read() or "0")
    except FileNotFoundError:
        return
    started = kernel_process.start_time(pid) if pid else None
    descriptor = kernel_process.open_process(pid, started) if started is not None else None
    if descriptor is None:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        kernel_process.wait_end(descriptor, START_SECONDS)
    finally:
        os.close(descriptor)
