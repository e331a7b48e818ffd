"""What the server tells the engine: who it is, which addresses it listens on.

A UNIX socket that writes one JSON status to whoever connects (root alone can), and a file that names the process for
when it does not answer. Both stand in the server's working directory, the engine's DNS directory.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from runtime.network.dns.loop import Loop

LOCK_FILE = "server.lock"
SOCKET_FILE = "server.sock"
IDENTITY_FILE = "server.json"
SEND_SECONDS = 1.0


class Status(TypedDict):
    """The server's own account. `listening`: (network, address); `failed`: [network, address, reason]; `inside`:
    [container, pid, start time] of each whose namespace it has sockets in."""

    pid: int
    version: str
    listening: list[tuple[str, str]]
    failed: list[list[str]]
    inside: list[tuple[str, int, int]]
    faults: int


class Control:
    """Listens on `server.sock` in the working directory."""

    def __init__(self, loop: Loop, status: Callable[[], Status]) -> None:
        self._status = status
        Path(SOCKET_FILE).unlink(missing_ok=True)  # The lock is ours: a socket left here is a dead server's.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.bind(SOCKET_FILE)
        self._socket.listen(16)
        self._socket.setblocking(False)
        loop.watch(self._socket.fileno(), lambda _: self._tell(), essential=True)

    def _tell(self) -> None:
        with suppress(OSError):
            link, _ = self._socket.accept()
            with link:
                link.settimeout(SEND_SECONDS)
                link.sendall(json.dumps(self._status()).encode())


def write_identity(pid: int, started: int) -> None:
    """Record in the working directory which process serves: pid and start time in clock ticks since boot."""
    temporary = Path(f".{IDENTITY_FILE}.{os.getpid()}")
    temporary.write_text(json.dumps({"pid": pid, "started": started}))
    temporary.rename(IDENTITY_FILE)


def read_identity(directory: Path) -> tuple[int, int] | None:
    """(pid, start time) as recorded, of a process that may be gone."""
    try:
        content = json.loads((directory / IDENTITY_FILE).read_bytes())
        return int(content["pid"]), int(content["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock on a file (flock(2))."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def ask_status(directory: Path, timeout: float) -> Status | None:
    """The status of the server in `directory`, None where none answers within `timeout` seconds."""
    chunks = []
    with suppress(FileNotFoundError, NotADirectoryError):
        handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # By descriptor, since a socket's name is limited to 107 bytes and the directory's is not.
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as link:
                link.settimeout(timeout)
                link.connect(f"/proc/self/fd/{handle}/{SOCKET_FILE}")
                while chunk := link.recv(65536):
                    chunks.append(chunk)
        except (ConnectionError, TimeoutError, BlockingIOError):
            return None
        finally:
            os.close(handle)
    try:
        status: Status = json.loads(b"".join(chunks))
    except ValueError:
        return None
    return status
