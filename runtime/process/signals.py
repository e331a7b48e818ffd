"""Signals as a fresh program expects them, after a launcher that ignores some."""

from __future__ import annotations

import signal

from runtime.kernel import prctl

IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGQUIT)
"""What the launcher or Python itself ignores, or catches: launcher and monitors end by SIGKILL or by themselves."""

KEPT_BY_LIBC = (32, 33)
"""Out of reach of signal(2); whoever started us may have left them ignored, and programs inherit that."""


def ignore_signals() -> None:
    """Ignore what a terminal or a service's stop would send along."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for kept in KEPT_BY_LIBC:
        prctl.default_action(kept)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def reset_signals() -> None:
    """Undo `ignore_signals`, and whatever was ignored before: execve(2) resets handlers, but not ignored signals."""
    for number in (*IGNORED, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
