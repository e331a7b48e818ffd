"""What the creator of a container leaves to its monitor once the program runs: descriptors, and a few facts.

One datagram: a line with one letter per descriptor that comes along, then the facts as JSON. The monitor looks at the
letters only; the facts are read when something happens. A monitor that has done next to nothing since its fork shares
next to all its memory with its launcher: that is why one costs so little.
"""

from __future__ import annotations

import array
import json
import os
import socket
from dataclasses import dataclass, field
from typing import Any

from runtime.process.failure import ProcessFailed
from runtime.process.paths import ContainerPaths

PIDFD, SERVER, BUNDLE, LOCK, LOG_LOCK = "P", "R", "B", "K", "L"
STDOUT, STDERR, STDIN, TERMINAL = "O", "E", "I", "T"
STARTER, LISTENER, FEEDER = "S", "H", "F"
"""The letters, capital ones (`pair.py` has the others): the client that waits for `start`, attached clients that only
listen, and those that may write too."""


@dataclass(slots=True)
class Facts:
    """What is known about a container, for the moments when a monitor has something to do."""

    paths: ContainerPaths
    pid: int
    start_time: int
    log: dict[str, Any] | None = None
    hooks: frozenset[str] = frozenset()
    started_at: float | None = None
    failure: ProcessFailed | None = None
    farewell: str = ""
    began: float | None = None
    """When it was started, by time.monotonic."""

    def to_text(self) -> bytes:
        """As JSON."""
        failure = self.failure.to_message() if self.failure else None
        return json.dumps(
            {
                **self.paths.to_message(),
                "pid": self.pid,
                "start_time": self.start_time,
                "log": self.log,
                "hooks": list(self.hooks),
                "started_at": self.started_at,
                "failure": failure,
                "farewell": self.farewell,
                "began": self.began,
            }
        ).encode()

    @classmethod
    def from_text(cls, text: bytes) -> Facts:
        """The inverse of `to_text`."""
        message = json.loads(text)
        return cls(
            ContainerPaths.from_message(message),
            message["pid"],
            message["start_time"],
            message["log"],
            frozenset(message["hooks"]),
            message["started_at"],
            ProcessFailed.from_message(message["failure"]) if message["failure"] else None,
            message["farewell"],
            message["began"],
        )


@dataclass(slots=True)
class Handover:
    """The descriptors by their letters, each letter several times if need be, and the facts, unread."""

    descriptors: list[tuple[str, int]] = field(default_factory=list)
    text: bytes = b""

    def get(self, letter: str) -> int:
        """The descriptor of a letter; -1 where it did not come."""
        for name, descriptor in self.descriptors:
            if name == letter:
                return descriptor
        return -1

    @classmethod
    def from_datagram(cls, data: bytes, descriptors: list[int]) -> Handover:
        """What `hand_over` has sent."""
        letters, _, text = data.partition(b"\n")
        return cls(list(zip(letters.decode(), descriptors, strict=True)), text)

    def facts(self) -> Facts:
        """Read the facts."""
        return Facts.from_text(self.text)

    def read_spec(self) -> dict[str, Any]:
        """The specification the container was made from."""
        config = self.get(BUNDLE)
        spec: dict[str, Any] = json.loads(os.pread(config, os.fstat(config).st_size, 0))
        return spec


def hand_over(channel: socket.socket, what: Handover) -> None:
    """Send it; the descriptors stay open here too."""
    letters = "".join(letter for letter, _ in what.descriptors)
    numbers = array.array("i", [descriptor for _, descriptor in what.descriptors])
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]
    channel.sendmsg([letters.encode(), b"\n", what.text], rights, socket.MSG_NOSIGNAL)
