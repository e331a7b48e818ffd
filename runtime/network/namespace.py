"""Network namespaces: open a container's, and be inside one for a moment.

setns(2) with CLONE_NEWNET changes the calling thread alone, so worker threads may do this at once and next to an
event loop. Whoever enters goes back in `finally`, whatever happened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.kernel.namespaces import CLONE_NEWNET, setns
from runtime.kernel.process import is_alive
from schemas.errors import Refused, RetryLater

_CURRENT = "/proc/thread-self/ns/net"


@contextmanager
def namespace_of(pid: int, start_time: int | None = None) -> Iterator[int]:
    """A descriptor of the network namespace of process `pid`.

    `start_time` (clock ticks, field 22 of proc(5) stat) guards against a pid that was reused. Raises RetryLater when
    the process is gone, Refused when its namespace is the caller's own.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise RetryLater(f"process {pid} is gone", step="network", errno=error.errno) from error
    try:
        # after opening: what was opened belonged to the process that still lives
        if start_time is not None and not is_alive(pid, start_time):
            raise RetryLater(f"process {pid} is gone, and another took its number", step="network")
        if os.path.samestat(os.fstat(descriptor), os.stat(_CURRENT)):  # noqa: PTH116
            raise Refused(f"process {pid} shares the host's network", step="network")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def inside(descriptor: int) -> Iterator[None]:
    """The calling thread in the network namespace of `descriptor`."""
    home = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
