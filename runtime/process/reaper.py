"""A pid 1 that only does what a pid 1 must: forward signals to the program, and reap whatever is left to it.

Init becomes this where the annotation `trimtab/init` is "true"; the program is its first child then. Stays the
interpreter: its memory is the launcher's, so it is not dumpable, and it has nothing of the host open.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import NoReturn

from runtime.kernel import prctl

ANNOTATION = "trimtab/init"

KILLED = "trimtab-init:"
"""With a signal's number behind it the last name (comm) of a pid 1, which itself no signal of its own can end."""

NOT_FORWARDED = frozenset({signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU})


def reap(child: int) -> NoReturn:
    """Until `child` has ended: forward and reap. Then end as it did."""
    wanted = set(signal.valid_signals()) - NOT_FORWARDED
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        code = _reap_all(child)
        if code is not None:
            _end_as(code)
        number = signal.sigwait(wanted | {signal.SIGCHLD})
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _end_as(code: int) -> NoReturn:
    """An exit code says 128 + signal of both a program that was killed and one that only says so: our name tells."""
    if code < 0:
        prctl.set_name(f"{KILLED}{-code}")
    os._exit(code if code >= 0 else 128 - code)


def killed_by(pid: int) -> int | None:
    """The signal that ended the program of the pid 1 `pid`, which has ended and is not reaped yet."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            name, _, number = file.read().strip().partition(KILLED)
    except OSError:
        return None
    return int(number) if not name and number.isdigit() else None


def _reap_all(child: int) -> int | None:
    """Reap every zombie; how `child` ended, as os.waitstatus_to_exitcode tells, once it is among them."""
    ended = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                ended = os.waitstatus_to_exitcode(status)
    return ended
