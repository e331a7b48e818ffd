"""Standard streams of a container: pipes into the monitor, a terminal, or descriptors somebody else gave.

The monitor makes them before init exists; init puts its ends on 0, 1 and 2.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from runtime.kernel import openat2, terminal


@dataclass(slots=True)
class Streams:
    """Both ends: `inner` is what init gets as 0, 1, 2; the others are the monitor's, -1 where there is none.

    `preserved` are descriptors passed through to the program, as 3, 4 and so on.
    """

    inner: tuple[int, int, int] = (-1, -1, -1)
    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    preserved: tuple[int, ...] = ()

    def close(self) -> None:
        """Close all ends."""
        self.close_inner()
        for descriptor in (self.stdin, self.stdout, self.stderr):
            if descriptor >= 0:
                os.close(descriptor)
        self.stdin = self.stdout = self.stderr = -1

    def close_inner(self) -> None:
        """Close init's ends in the monitor: the end of the container must be the end of the pipes."""
        for descriptor in set(self.inner):
            if descriptor >= 0:
                os.close(descriptor)
        self.inner = (-1, -1, -1)


def make_pipes(owner: tuple[int, int], *, stdin: bool) -> Streams:
    """Pipes owned by `owner` (host ids), so that the container may open /dev/stdout again; /dev/null for the rest."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    streams = Streams()
    inner = [null, null, null]
    if stdin:
        inner[0], streams.stdin = os.pipe2(os.O_CLOEXEC)
    streams.stdout, inner[1] = os.pipe2(os.O_CLOEXEC)
    streams.stderr, inner[2] = os.pipe2(os.O_CLOEXEC)
    for descriptor in set(inner) - {null}:
        os.fchown(descriptor, *owner)
    streams.inner = (inner[0], inner[1], inner[2])
    return streams


def put_in_place(inner: tuple[int, int, int]) -> None:
    """Make `inner` the standard streams of the caller."""
    # copied above 2 first: one of them may already be 0, 1 or 2
    copies = [os.dup(descriptor) if descriptor <= 2 else descriptor for descriptor in inner]
    for number, descriptor in enumerate(copies):
        os.dup2(descriptor, number, inheritable=True)


def open_terminal(root: int, process: dict[str, Any]) -> tuple[int, int]:
    """A terminal of the devpts inside `root`, owned by the user of an OCI `process`: its master and its slave."""
    master = openat2.open_inside(root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    slave = terminal.open_peer(master)
    os.fchown(slave, (process.get("user") or {}).get("uid", 0), -1)
    size = process.get("consoleSize")
    if size:
        terminal.set_size(master, size["height"], size["width"])
    return master, slave
