"""What a launcher learns once, so that none of its children has to: facts of the machine, and libraries loaded."""

from __future__ import annotations

import contextlib

from runtime.kernel import capabilities, cgroup, libseccomp
from runtime.process import overlay, protocol


def warm_up() -> None:
    """Fill the caches that forks inherit. What is missing here is missed by whoever needs it."""
    protocol.fingerprint()
    capabilities.last_capability()
    overlay.has_detached_layers()
    with contextlib.suppress(OSError):
        cgroup.hierarchies()
    with contextlib.suppress(OSError):
        libseccomp.version()
