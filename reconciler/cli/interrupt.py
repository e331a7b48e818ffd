"""Ctrl-C or SIGTERM while actions are under way: they finish and the rest is skipped; the second leaves at once.

Leaving at once is safe, since every action can be finished by the next apply; it is only less tidy.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from reconciler.caller import caller

INTERRUPTED = 130
"""128 + SIGINT, as a shell has it."""
FIRST = "interrupted: what is under way is finished, the rest is skipped; Ctrl-C again leaves at once"
SECOND = "left at once; the next apply finishes what was under way"
SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yields whether somebody has interrupted. Only the main thread may hear signals; elsewhere nobody can."""
    asked = threading.Event()
    if caller().is_remote:
        yield caller().stops
        return
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            _leave()
        asked.set()
        os.write(2, f"\ntrimtab: {FIRST}\n".encode())

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave() -> None:
    shown = SHOW_CURSOR if os.isatty(1) else ""
    os.write(2, f"{shown}\ntrimtab: {SECOND}\n".encode())
    os._exit(INTERRUPTED)
