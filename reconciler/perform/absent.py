"""Which failures may heal by themselves: what a manifest names is not there yet, or the machine is short of something.

At a boot disks, devices, links and servers come when they come. So what is only absent is tried again, while what is
wrong is refused and waits for a change. Called where an action is done; a hand's `apply` refuses both before the first
effect (`reconciler.fitness`).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.process.failure import NotRunning, ProcessFailed
from schemas.errors import Refused, RetryLater

ABSENT = frozenset({errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ENOMEDIUM, errno.ESTALE})
"""Of a path, a device, what is mounted from one."""
SHORT = frozenset(
    {errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT, errno.EIO}
)
"""Of a moment, whatever was asked."""
NAMED = frozenset({"layer", "mount", "mount source", "device", "find the device", "read rootfs", "read archive"})
"""Steps that look for what a manifest names; a layer that is lost is made again with its image."""
ENDED = frozenset({"launcher", "monitor", "init"})
"""Steps in which somebody killed who was at work."""


@contextmanager
def absence_heals() -> Iterator[None]:
    """A refusal of what is only not there is raised as RetryLater."""
    try:
        yield
    except Refused as error:
        if error.errno in ABSENT and error.step in NAMED and not _lacks_file_system(error):
            raise _passing(error) from error
        raise


def _lacks_file_system(error: Refused) -> bool:
    """fsopen(2): a kernel without the type that is asked for."""
    return error.errno == errno.ENODEV and error.step == "mount"


def _passing(error: Refused) -> RetryLater:
    made = RetryLater(
        error.message,
        object=error.object,
        step=error.step,
        path=error.path,
        errno=error.errno,
        hint=error.hint,
        field=error.field,
    )
    made.place = error.place
    return made


def may_heal(error: ProcessFailed) -> bool:
    """Whether a container that could not be made or started may be later, though nobody changed anything."""
    if isinstance(error, NotRunning) or error.errno in SHORT:
        return True
    return error.step in ENDED if error.errno is None else error.errno in ABSENT and error.step in NAMED
