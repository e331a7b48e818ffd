"""For an engine whose wall clock jumps: CLOCK_REALTIME as Python's programs see it, moved by what a file says.

Python imports it by its name when it stands in PYTHONPATH. The machine's own clock is nobody's to set.
"""

import contextlib
import os
import time

_true_time = time.time
_file = os.open(os.environ["CLOCK_FILE"], os.O_RDONLY | os.O_CLOEXEC)


def _moved() -> float:
    # a process that closed what it has inherited keeps the true time
    with contextlib.suppress(OSError, ValueError):
        return _true_time() + float(os.pread(_file, 32, 0))
    return _true_time()


time.time = _moved
