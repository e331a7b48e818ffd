"""What the creator of a container leaves to its monitor: descriptors, and the few facts that are needed to the end.

The creator parses, compiles and mounts, and then ends with all the memory that took; the monitor has done nothing
before this message, which is why one costs so little. The specification stays a descriptor, read by whoever needs it.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, field
from typing import Any

from runtime.process import protocol
from runtime.process.paths import ContainerPaths

DESCRIPTORS = ("pidfd", "channel", "server", "config", "lock", "creator", "stdout", "stderr", "stdin")


@dataclass(slots=True)
class Handover:
    """Everything a monitor knows of its container. A descriptor that does not exist is -1."""

    paths: ContainerPaths
    pid: int
    start_time: int
    pidfd: int
    channel: int
    server: int
    config: int
    lock: int
    creator: int = -1
    stdout: int = -1
    stderr: int = -1
    stdin: int = -1
    log: dict[str, Any] | None = None
    hooks: frozenset[str] = field(default_factory=frozenset)

    def read_spec(self) -> dict[str, Any]:
        """The specification the container was made from."""
        text = os.pread(self.config, os.fstat(self.config).st_size, 0)
        spec: dict[str, Any] = json.loads(text)
        return spec


def hand_over(channel: socket.socket, what: Handover) -> None:
    """Send it; the descriptors stay open here too, until the caller ends."""
    names = [name for name in DESCRIPTORS if getattr(what, name) >= 0]
    message = {
        **what.paths.to_message(),
        "pid": what.pid,
        "start_time": what.start_time,
        "log": what.log,
        "hooks": list(what.hooks),
        "descriptors": names,
    }
    protocol.send(channel, message, tuple(getattr(what, name) for name in names))


def take_over(channel: socket.socket) -> Handover | None:
    """Wait for it; None where the creator has failed, and has said so itself."""
    received = protocol.receive(channel)
    if received is None:
        return None
    message, descriptors = received
    named = dict(zip(message["descriptors"], descriptors, strict=True))
    return Handover(
        ContainerPaths.from_message(message),
        message["pid"],
        message["start_time"],
        log=message["log"],
        hooks=frozenset(message["hooks"]),
        **named,
    )
