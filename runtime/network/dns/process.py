"""Starts, finds and ends the engine's DNS server process.

Called by the reconciler. The server is detached and outlives its caller; it lives in the network namespace of the
thread that starts it. Of two callers at once one starts it and the other finds it. Does not write records.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtime.kernel.process import open_process, wait_end
from runtime.layout import Layout
from runtime.network.dns.control import LOCK_FILE, ask_status, is_locked, read_identity
from runtime.network.dns.inside import take_up
from runtime.network.dns.records import ensure_directory, networks_directory
from runtime.network.dns.version import code_version, read_code_version
from schemas.errors import RetryLater

RESOLV_CONF = Path("/etc/resolv.conf")
ANSWER_SECONDS = 3.0
START_SECONDS = 20.0
END_SECONDS = 2.0
SOON_SECONDS = 3.0
"""How long a server that has its lock may take until it answers."""


@dataclass(frozen=True, slots=True)
class ObservedDns:
    """The DNS server as it answers now. `listening`: (network, address); `failed`: (network, address, reason)."""

    alive: bool
    listening: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str, str], ...] = ()
    pid: int | None = None
    is_current: bool = False
    """Whether it runs the code of this engine."""
    inside: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Pid and start time of each container whose own network namespace it answers in."""


def ensure_dns(layout: Layout, resolv_conf: Path = RESOLV_CONF) -> bool:
    """Have exactly one server answer, of this code; True when one had to be started. Raises RetryLater."""
    if read_dns(layout).is_current:
        return False
    for each in (layout.dns, networks_directory(layout)):
        ensure_directory(each)
    lock_file = layout.dns / "start.lock"
    lock_file.touch(mode=0o600)
    with lock_file.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_dns(layout).is_current:
            return False
        try:
            _start(layout, resolv_conf, read_identity(layout.dns))
        except RetryLater:
            if not _answers_soon(layout):
                raise
            return False
    if not read_dns(layout).is_current:
        raise RetryLater("the DNS server does not answer", step="start the DNS server", path=str(layout.dns))
    take_up(layout)
    return True


def _answers_soon(layout: Layout) -> bool:
    """Whether one whose starter was killed holds the server's lock, and now answers."""
    deadline = time.monotonic() + SOON_SECONDS
    while is_locked(layout.dns / LOCK_FILE) and time.monotonic() < deadline:
        if read_dns(layout).is_current:
            return True
        time.sleep(0.01)
    return read_dns(layout).is_current


def stop_dns(layout: Layout) -> None:
    """End the server and wait until it is gone. The records stay."""
    identity = read_identity(layout.dns)
    process = open_process(*identity) if identity else None
    if process is None:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(process, number)
            if wait_end(process, END_SECONDS):
                return
    except ProcessLookupError:
        return
    finally:
        os.close(process)
    raise RetryLater("the DNS server does not end", step="end the DNS server", hint="it hangs in the kernel")


def read_dns(layout: Layout) -> ObservedDns:
    """Whether the server answers, and where it listens."""
    status = ask_status(layout.dns, ANSWER_SECONDS)
    if status is None:
        return ObservedDns(alive=False)
    return ObservedDns(
        alive=True,
        listening=tuple((network, address) for network, address in status["listening"]),
        failed=tuple((network, address, reason) for network, address, reason in status["failed"]),
        pid=status["pid"],
        is_current=_is_current(status["version"]),
        inside={owner: (pid, started) for owner, pid, started in status.get("inside", ())},
    )


def _is_current(version: str) -> bool:
    """Not so for a long-lived client whose code was replaced under it: then a server of the newer code is."""
    return version == code_version() or version == read_code_version()


def _start(layout: Layout, resolv_conf: Path, replaced: tuple[int, int] | None) -> None:
    import subprocess  # Not needed by the server itself, which imports this package too.

    code = str(Path(__file__).resolve().parents[3])
    arguments = [str(path.absolute()) for path in (layout.dns, resolv_conf)]
    arguments += [str(number) for number in replaced or ()]
    try:
        started = subprocess.run(
            [sys.executable, "-S", "-s", "-P", "-m", "runtime.network.dns.server", *arguments],
            env={"PYTHONPATH": code, "PATH": os.defpath, "LANG": "C.UTF-8"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RetryLater(str(error), step="start the DNS server") from error
    if started.returncode != 0:
        reason = (started.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise RetryLater(reason, step="start the DNS server", path=str(layout.dns))
