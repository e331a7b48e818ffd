"""How much memory a process and everything it started take at most, while something is done.

Proportional set size (PSS, proc(5)), sampled: what is shared among them counts once, and the page cache not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

EVERY_SECONDS = 0.02


def most_beyond(pid: int, work: Callable[[], object]) -> float:
    """Megabytes that the tree of `pid` takes at most during `work`, beyond what it takes before."""
    before, ended, most = of_tree(pid), threading.Event(), 0.0

    def watch() -> None:
        nonlocal most
        while not ended.wait(EVERY_SECONDS):
            most = max(most, of_tree(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        work()
    finally:
        ended.set()
        watching.join()
    return max(0.0, most - before)


def of_tree(pid: int) -> float:
    """Megabytes. What ends meanwhile counts nothing."""
    total, pending = 0.0, [pid]
    while pending:
        each = pending.pop()
        with suppress(OSError, StopIteration):
            total += pss(each)
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                pending += map(int, (task / "children").read_text().split())
    return total


def pss(pid: int) -> float:
    """Megabytes of one process. Raises OSError, StopIteration (it has ended)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6
