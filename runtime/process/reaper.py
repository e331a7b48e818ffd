"""A pid 1 that only does what a pid 1 must: forward signals to the program, and reap whatever is left to it.

Init becomes this where the annotation `trimtab/init` is "true"; the program is its first child then. Stays the
interpreter: its memory is the launcher's, so it is not dumpable, and it has nothing of the host open.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import NoReturn

ANNOTATION = "trimtab/init"

NOT_FORWARDED = frozenset({signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU})


def reap(child: int) -> NoReturn:
    """Until `child` has ended: forward and reap. Then end as it did."""
    wanted = set(signal.valid_signals()) - NOT_FORWARDED
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        code = _reap_all(child)
        if code is not None:
            os._exit(code)
        number = signal.sigwait(wanted | {signal.SIGCHLD})
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _reap_all(child: int) -> int | None:
    """Reap every zombie; the exit code of `child` once it is among them."""
    ended = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                ended = code if code >= 0 else 128 - code
    return ended
