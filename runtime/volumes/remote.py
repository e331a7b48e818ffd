"""File systems behind a server: whatever may wait for its answer is done by a child, for so long and no longer.

A mount, an unmount and a first look at what is mounted wait inside the kernel, without an end where the server is gone
(nfs(5), `hard`). The child (`mount_child`) does one of them and is killed when its time is up; the engine goes on.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.volumes.options import NETWORK, MountWanted

CONNECT_SECONDS = 5.0
MOUNT_SECONDS = 30.0
ANSWER_SECONDS = 10.0
"""For a look at a mount, and for taking one off."""
END_SECONDS = 1.0
NFS_PORT = 2049


def mount(wanted: MountWanted, target: Path) -> None:
    """Mount on `target`. Raises OSError, of ETIMEDOUT where the server does not answer."""
    if wanted.fstype in NETWORK:
        reach(wanted.options)
    _run({"do": "mount", "wanted": asdict(wanted), "target": str(target)}, MOUNT_SECONDS)


def unmount(target: Path) -> None:
    """Take off what is seen at `target`. A server that is gone does not keep it there. Raises OSError."""
    _run({"do": "unmount", "target": str(target)}, ANSWER_SECONDS)


def look(target: Path) -> None:
    """Have whoever serves `target` answer. Raises OSError, of ETIMEDOUT where nobody does."""
    _run({"do": "look", "target": str(target)}, ANSWER_SECONDS)


def reach(options: Mapping[str, str | None]) -> None:
    """Have the server of an NFS mount take a connection, so that one that is gone is told at once. Raises OSError.

    Only where it is known which port serves: without one given, version 3 asks the server's port mapper.
    """
    server, port = options.get("addr"), options.get("port")
    if not server or (options.get("proto") or "tcp") not in ("tcp", "tcp6") or (port is None and asks_port(options)):
        return
    place = (server, int(port) if port and port.isdecimal() else NFS_PORT)
    try:
        socket.create_connection(place, CONNECT_SECONDS).close()
    except OSError as error:
        number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno
        reason = os.strerror(number) if number else str(error)
        raise OSError(number, f"nobody answers at {place[0]} port {place[1]}: {reason}") from error


def asks_port(options: Mapping[str, str | None]) -> bool:
    """Whether the options are those of a version that finds its port by asking."""
    given = options.get("vers") or options.get("nfsvers") or ""
    return given in ("2", "3") or "v2" in options or "v3" in options


def _run(request: Mapping[str, Any], seconds: float) -> None:
    child = subprocess.Popen(
        [sys.executable, "-S", "-s", "-P", "-m", "runtime.volumes.mount_child"],
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": os.defpath, "LANG": "C.UTF-8"},
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output, errors = child.communicate(json.dumps(request), seconds)
    except subprocess.TimeoutExpired:
        _abandon(child)
        raise OSError(errno.ETIMEDOUT, f"no answer within {seconds:g} s") from None
    if child.returncode == 0:
        return
    with suppress(ValueError, KeyError):
        outcome = json.loads(output)
        raise OSError(outcome["errno"], outcome["message"])
    last = (errors.strip().splitlines() or [f"the child ended with {child.returncode}"])[-1]
    raise OSError(errno.EIO, last)


def _abandon(child: subprocess.Popen[str]) -> None:
    """Kill it. What waits in the kernel and cannot be killed is left there, and ends when its server is back."""
    child.kill()
    with suppress(subprocess.TimeoutExpired):
        child.wait(END_SECONDS)
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.close()
