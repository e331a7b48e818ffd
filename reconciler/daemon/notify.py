"""What systemd is told of us: sd_notify(3), a datagram to the socket named by NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


def notify(*lines: str) -> bool:
    """Send `READY=1` and the like. False where nobody asked to be told, or cannot be reached."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto("\n".join(lines).encode(), name)
        return True
    return False


def ready(status: str) -> None:
    notify("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")


def reloading() -> None:
    """systemd compares the moment with its own clock (CLOCK_MONOTONIC in microseconds)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    notify("STOPPING=1", "STATUS=stopping; containers go on running")


def watchdog_seconds() -> float | None:
    """How often a sign of life is wanted: half of what systemd waits (sd_watchdog_enabled(3)); None: not at all."""
    asked = os.environ.get("WATCHDOG_USEC", "")
    meant = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not asked.isdigit() or not int(asked) or meant != str(os.getpid()):
        return None
    return int(asked) / 2_000_000
